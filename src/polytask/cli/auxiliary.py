"""`polytask auxiliary`: which helper tasks help one main task, with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._checks import check, check_data
from polytask.cli._config import gather
from polytask.cli._plugins import Plugins, bring
from polytask.cli._study import carry_out
from polytask.errors import UserError

if TYPE_CHECKING:
    from polytask.cli._config import Settings


def select(
    config: options.Config = None,
    /,
    *,
    data: options.Data = None,
    targets: Annotated[
        options.Judged,
        Parameter(help=f"Target columns, the main one among them; {options.KINDS}"),
    ] = None,
    main: Annotated[
        str | None,
        Parameter(group=options.DATA, metavar="TARGET", help="The task to help."),
    ] = None,
    candidates: Annotated[
        list[str] | None,
        Parameter(
            group=options.DATA,
            consume_multiple=options.MANY,
            metavar="TARGET...",
            help="The possible helpers. [default: every other target]",
        ),
    ] = None,
    drop: options.Drop = None,
    split: options.Split = None,
    test: options.Test = None,
    test_fraction: options.TestFraction = None,
    val_fraction: options.ValFraction = None,
    auxiliary: Annotated[
        options.Names,
        Parameter(
            help="Further candidates, made from the data (polytask list auxiliary). [default: none]"
        ),
    ] = None,
    finalists: Annotated[
        options.Whole,
        Parameter(
            group=options.MODEL,
            metavar="N",
            help="How many candidates are proven with seeds. [default: 3]",
        ),
    ] = None,
    rounds: Annotated[
        options.Whole,
        Parameter(
            group=options.MODEL,
            metavar="N",
            help="Rounds of the trial of all candidates. [default: five for each, at least 20]",
        ),
    ] = None,
    method: Annotated[
        options.Named,
        Parameter(help="How helpers are balanced (polytask list methods). [default: linear]"),
    ] = None,
    architecture: Annotated[
        options.Named,
        Parameter(help="How helpers share (polytask list architectures). [default: hard_sharing]"),
    ] = None,
    encoder: options.Encoder = None,
    statistic: options.Statistic = None,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: Annotated[options.Rates, options.tried("every set of helpers is tried with")] = None,
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
    out: Annotated[Path | None, options.kept("runs/NAME-TARGET")] = None,
    plugins: Plugins = None,
    progress: options.Progress = None,
    json: options.Json = False,
) -> None:
    """Find out which helper tasks help one main task, how much, and how sure that is."""
    bring(plugins)
    settings = check(gather(select, config, locals()))
    source = check_data(settings)
    check_main(settings)
    carry_out("select_auxiliaries", settings, source, json=json)


def check_main(settings: Settings) -> None:
    """Raise `UserError` for what can be told of the main task without the data."""
    if "main" not in settings:
        raise UserError(
            "which task is to be helped? Name it with --main TARGET; its candidates are the other "
            "targets of the data"
        )
    if settings["main"] in settings.get("candidates", ()):
        raise UserError(
            f"{settings.where('candidates')}: {settings['main']!r} is the main task, which cannot "
            "be its own helper. Leave it out"
        )
