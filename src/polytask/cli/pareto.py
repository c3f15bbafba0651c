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

PREFERENCE = "preference"


def pareto(
    config: options.Config = None,
    /,
    *,
    data: options.Data = None,
    targets: options.Judged = None,
    drop: options.Drop = None,
    split: options.Split = None,
    test: options.Test = None,
    test_fraction: options.TestFraction = None,
    val_fraction: options.ValFraction = None,
    method: Annotated[
        options.Named,
        Parameter(
            help="What goes to a preference: epo, pareto_mtl, stch or linear. [default: epo]"
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
        options.Named,
        Parameter(help="How tasks share (polytask list architectures). [default: hard_sharing]"),
    ] = None,
    encoder: options.Encoder = None,
    statistic: options.Statistic = None,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: Annotated[
        options.Rates,
        options.tried("that the middle preference and every task alone are tried with"),
    ] = None,
    select: Annotated[
        options.Select,
        Parameter(
            help="How the epoch of a point is chosen on validation: preference (by what it asks "
            "for), or mean_gain, mean_rank, main:TASK or loss at all. [default: preference]",
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
    workers: options.Workers = None,
    device: options.Device = None,
    checkpoint_every: options.CheckpointEvery = None,
    max_time: options.MaxTime = None,
    dry_run: options.DryRun = None,
    out: Annotated[Path | None, options.kept("runs/NAME-pareto")] = None,
    plugins: Plugins = None,
    progress: options.Progress = None,
    json: options.Json = False,
) -> None:
    """Trace the trade-offs between tasks with one model a preference."""
    bring(plugins)
    given = gather(pareto, config, locals())
    if given.get("select") == PREFERENCE:
        del given["select"]  # the default, which no other study has
    settings = check_reference(check(given))
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
