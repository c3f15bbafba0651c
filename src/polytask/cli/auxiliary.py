"""`polytask auxiliary`: which helper tasks help one main task, with evidence."""

from __future__ import annotations

import json as jsonlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._checks import check, check_data
from polytask.cli._config import gather
from polytask.cli._data import check_words
from polytask.cli._line import command_line
from polytask.cli._plugins import Plugins, bring
from polytask.cli._show import console, quiet_stdout, show_dataset, show_plan, spoken
from polytask.cli.compare import arguments, plain
from polytask.errors import UserError

if TYPE_CHECKING:
    from polytask.cli._config import Settings


def select(
    config: Annotated[
        Path | None,
        Parameter(help="A YAML file whose keys are the flags below; flags win over it."),
    ] = None,
    /,
    *,
    data: options.Data = None,
    targets: Annotated[
        list[str] | None,
        Parameter(
            group=options.DATA,
            consume_multiple=options.MANY,
            metavar="COLUMN[:KIND]...",
            help="Target columns, the main one among them; KIND is regression, binary, multiclass "
            "or multilabel. Needed for a file; of a data set, the tasks to keep.",
        ),
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
        list[str] | None,
        Parameter(
            group=options.MODEL,
            consume_multiple=options.MANY,
            metavar="NAME[:ARG=VALUE,...]...",
            help="Further candidates, made from the data (polytask list auxiliary). "
            "[default: none]",
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
        str | None,
        Parameter(
            group=options.MODEL,
            metavar="NAME[:ARG=VALUE,...]",
            help="How helpers are balanced (polytask list methods). [default: linear]",
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        Parameter(
            group=options.MODEL,
            metavar="NAME[:ARG=VALUE,...]",
            help="How helpers share (polytask list architectures). [default: hard_sharing]",
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
            help="Learning rates every set of helpers is tried with. [default: 3e-4 1e-3 3e-3]",
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
    workers: Annotated[
        options.Whole,
        Parameter(
            group=options.RUNNING,
            metavar="N",
            help="Runs at the same time, one process each. [default: the number of CPUs]",
        ),
    ] = None,
    device: options.Device = None,
    checkpoint_every: options.CheckpointEvery = None,
    max_time: Annotated[
        str | None,
        Parameter(
            group=options.RUNNING,
            metavar="TIME",
            help="Start no run after this time (90, 10m, 2h) and report on what there is.",
        ),
    ] = None,
    dry_run: Annotated[
        bool | None,
        Parameter(
            group=options.RUNNING,
            negative=(),
            help="Only show the plan: the runs and the expected time.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(
            group=options.OUTPUT,
            metavar="FOLDER",
            help="Where runs and report.html go; what is finished is kept. "
            "[default: runs/NAME-TARGET]",
        ),
    ] = None,
    plugins: Plugins = None,
    progress: options.Progress = None,
    json: options.Json = False,
) -> None:
    """Find out which helper tasks help one main task, how much, and how sure that is."""
    bring(plugins)
    settings = check(gather(select, config, locals()))
    source = check_data(settings)
    check_main(settings)
    screen = console(json=json)
    with quiet_stdout(json), spoken(settings.get("progress"), "polytask.study"):
        check_words(settings, source)
        from polytask.study import select_auxiliaries

        shown = partial(show_dataset, screen)
        result = select_auxiliaries(
            plain(source), **arguments(settings), on_data=shown, command=command_line()
        )
        if settings.get("dry_run"):
            show_plan(screen, result.results["plan"])
        elif not json:
            from polytask.report import print_verdict

            print_verdict(result.results)
        if result.report is not None:
            screen.print(f"report: {result.report}", markup=False, highlight=False, soft_wrap=True)
    if json:
        where = {"folder": str(result.folder), "report": result.report and str(result.report)}
        print(jsonlib.dumps(result.results | where, indent=1))


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
