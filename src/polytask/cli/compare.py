"""`polytask compare`: from data to a verdict, with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._checks import check, check_data
from polytask.cli._config import gather
from polytask.cli._distill import teachers
from polytask.cli._mixture import read_sizes, rows, saved_sets, sources_of
from polytask.cli._plugins import Plugins, bring
from polytask.cli._study import Source, carry_out


def compare(
    config: options.Config = None,
    /,
    *,
    data: options.SeveralData = None,
    targets: options.Targets = None,
    drop: options.Drop = None,
    split: options.Split = None,
    test: options.Test = None,
    test_fraction: options.TestFraction = None,
    val_fraction: options.ValFraction = None,
    methods: Annotated[
        options.Names,
        Parameter(help="Ways to balance (polytask list methods); linear and rlw always take part."),
    ] = None,
    architectures: Annotated[
        options.Names,
        Parameter(
            help=(
                "Ways to share (polytask list architectures); single_task and hard_sharing always "
                "take part. [default: hard_sharing]"
            ),
        ),
    ] = None,
    encoder: options.Encoder = None,
    auxiliary: options.Auxiliary = None,
    distill: options.Distill = None,
    statistic: options.Statistic = None,
    match_parameters: Annotated[
        bool | None,
        Parameter(
            group=options.MODEL,
            negative=(),
            help="Scale the encoder so that all networks have about as many parameters.",
        ),
    ] = None,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    schedules: Annotated[
        options.Names,
        Parameter(
            group=options.FIT,
            help="Whose turn it is, of several data sets (polytask list schedules); the baselines "
            "have the first. [default: temperature:alpha=0.5]",
        ),
    ] = None,
    tasks_per_step: options.TasksPerStep = None,
    steps_per_epoch: options.StepsPerEpoch = None,
    batch_size: Annotated[options.SeveralSizes, options.rows_by_set(rows, 256)] = None,
    lr: Annotated[options.Rates, options.tried("every method is tried with")] = None,
    optimizer: options.Optimizer = None,
    weight_decay: options.WeightDecay = None,
    scheduler: options.Scheduler = None,
    warmup: options.Warmup = None,
    clip_norm: options.ClipNorm = None,
    accumulate: options.Accumulate = None,
    patience: options.Patience = None,
    precision: options.Precision = None,
    select: options.Select = None,
    workers: options.Workers = None,
    device: options.Device = None,
    checkpoint_every: options.CheckpointEvery = None,
    max_time: options.MaxTime = None,
    dry_run: Annotated[
        options.DryRun,
        Parameter(help="Only show the plan: the runs, the expected time, the disk space."),
    ] = None,
    out: Annotated[Path | None, options.kept("runs/NAME")] = None,
    plugins: Plugins = None,
    progress: options.Progress = None,
    json: options.Json = False,
) -> None:
    """Compare ways to share and to balance, and say with evidence whether sharing helped."""
    bring(plugins)
    settings = check(read_sizes(gather(compare, config, locals())))
    if "distill" in settings:
        settings["distill"] = teachers(settings["distill"], settings.where("distill"))
    source: Source | None = saved_sets(settings) or sources_of(settings)
    if source is None:
        source = check_data(settings)
    carry_out("compare", settings, source, json=json)
