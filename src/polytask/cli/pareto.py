"""`polytask pareto`: the trade-offs between tasks, one model a preference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._checks import check, check_data
from polytask.cli._config import gather
from polytask.cli._methods import scalar
from polytask.cli._plugins import Plugins, bring
from polytask.cli._study import carry_out
from polytask.errors import UserError

if TYPE_CHECKING:
    from polytask.cli._config import Settings


def pareto(
    config: options.Config = None,
    /,
    *,
    data: options.Data = None,
    targets: Annotated[
        list[str] | None,
        Parameter(
            group=options.DATA,
            consume_multiple=options.MANY,
            metavar="COLUMN[:KIND]...",
            help="Target columns; KIND is regression, binary, multiclass or multilabel. Needed for "
            "a file; of a data set, the tasks to keep.",
        ),
    ] = None,
    drop: options.Drop = None,
    split: options.Split = None,
    test: options.Test = None,
    test_fraction: options.TestFraction = None,
    val_fraction: options.ValFraction = None,
    method: Annotated[
        str | None,
        Parameter(
            group=options.MODEL,
            metavar="NAME[:ARG=VALUE,...]",
            help="What goes to a preference: epo, pareto_mtl, stch or linear. [default: epo]",
        ),
    ] = None,
    points: Annotated[
        options.Whole,
        Parameter(
            group=options.MODEL,
            metavar="N",
            help="How many preferences, at least; of more than two tasks the next full lattice. "
            "[default: 5]",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        Parameter(
            group=options.MODEL,
            consume_multiple=options.MANY,
            metavar="TASK=SCORE...",
            help="From which scores the hypervolume is measured, one for every task. "
            "[default: a little worse than the worst point]",
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        Parameter(
            group=options.MODEL,
            metavar="NAME[:ARG=VALUE,...]",
            help="How tasks share (polytask list architectures). [default: hard_sharing]",
        ),
    ] = None,
    encoder: options.Encoder = None,
    statistic: options.Statistic = None,
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
            help="Learning rates that the middle preference and every task alone are tried with. "
            "[default: 3e-4 1e-3 3e-3]",
        ),
    ] = None,
    select: options.Select = None,
    optimizer: options.Optimizer = None,
    weight_decay: options.WeightDecay = None,
    scheduler: options.Scheduler = None,
    warmup: options.Warmup = None,
    clip_norm: options.ClipNorm = None,
    accumulate: options.Accumulate = None,
    patience: options.Patience = None,
    precision: options.Precision = None,
    workers: options.Workers = None,
    device: options.Device = None,
    checkpoint_every: options.CheckpointEvery = None,
    max_time: options.MaxTime = None,
    dry_run: options.DryRun = None,
    out: Annotated[
        Path | None,
        Parameter(
            group=options.OUTPUT,
            metavar="FOLDER",
            help="Where runs and report.html go; what is finished is kept. "
            "[default: runs/NAME-pareto]",
        ),
    ] = None,
    plugins: Plugins = None,
    progress: options.Progress = None,
    json: options.Json = False,
) -> None:
    """Trace the trade-offs between tasks with one model a preference."""
    bring(plugins)
    settings = check_reference(check(gather(pareto, config, locals())))
    source = check_data(settings)
    carry_out("pareto", settings, source, json=json)


def check_reference(settings: Settings) -> Settings:
    """Bring `reference` to its final form, task to score, in place.

    Raises `UserError`, naming the flag or the key.
    """
    given = settings.get("reference")
    if given is None:
        return settings
    where = settings.where("reference")
    pairs = (
        given.items() if isinstance(given, dict) else [each.rpartition("=")[::2] for each in given]
    )
    scores: dict[str, float] = {}
    for task, raw in pairs:
        value = scalar(raw) if isinstance(raw, str) else raw
        if not task or isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{where}: expected TASK=SCORE for every task, found {task}={raw}")
        scores[str(task)] = float(value)
    settings["reference"] = scores
    return settings
