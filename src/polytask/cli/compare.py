"""`polytask compare`: from data to a verdict, with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._checks import check, check_data
from polytask.cli._config import gather
from polytask.cli._distill import teachers
from polytask.cli._plugins import Plugins, bring
from polytask.cli._study import carry_out


def compare(
    config: options.Config = None,
    /,
    *,
    data: options.Data = None,
    targets: options.Targets = None,
    drop: options.Drop = None,
    split: options.Split = None,
    test: options.Test = None,
    test_fraction: options.TestFraction = None,
    val_fraction: options.ValFraction = None,
    methods: Annotated[
        list[str] | None,
        Parameter(
            group=options.MODEL,
            consume_multiple=options.MANY,
            metavar="NAME[:ARG=VALUE,...]...",
            help="Ways to balance (polytask list methods); linear and rlw always take part.",
        ),
    ] = None,
    architectures: Annotated[
        list[str] | None,
        Parameter(
            group=options.MODEL,
            consume_multiple=options.MANY,
            metavar="NAME[:ARG=VALUE,...]...",
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
    seeds: Annotated[
        options.Whole,
        Parameter(
            group=options.FIT,
            metavar="N",
            help="Repeat everything N times with new splits and starts. [default: 5]",
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: Annotated[
        list[float] | None,
        Parameter(
            group=options.FIT,
            consume_multiple=options.MANY,
            metavar="X...",
            help="Learning rates every method is tried with. [default: 3e-4 1e-3 3e-3]",
        ),
    ] = None,
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
        bool | None,
        Parameter(
            group=options.RUNNING,
            negative=(),
            help="Only show the plan: the runs, the expected time, the disk space.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(
            group=options.OUTPUT,
            metavar="FOLDER",
            help="Where runs and report.html go; what is finished is kept. [default: runs/NAME]",
        ),
    ] = None,
    plugins: Plugins = None,
    progress: options.Progress = None,
    json: options.Json = False,
) -> None:
    """Compare ways to share and to balance, and say with evidence whether sharing helped."""
    bring(plugins)
    settings = check(gather(compare, config, locals()))
    if "distill" in settings:
        settings["distill"] = teachers(settings["distill"], settings.where("distill"))
    source = check_data(settings)
    carry_out("compare", settings, source, json=json)
