"""`polytask compare`: from data to a verdict, with evidence."""

from __future__ import annotations

import json as jsonlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._checks import check, check_data
from polytask.cli._config import Settings, gather
from polytask.cli._data import check_words
from polytask.cli._line import command_line
from polytask.cli._plugins import Plugins, bring
from polytask.cli._show import console, quiet_stdout, show_dataset, show_plan, spoken
from polytask.study.settings import Choice


def compare(
    config: Annotated[
        Path | None,
        Parameter(help="A YAML file whose keys are the flags below; flags win over it."),
    ] = None,
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
    source = check_data(settings)
    screen = console(json=json)
    with quiet_stdout(json), spoken(settings.get("progress"), "polytask.study"):
        check_words(settings, source)
        from polytask.study import compare as study

        shown = partial(show_dataset, screen)
        result = study(plain(source), **arguments(settings), on_data=shown, command=command_line())
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


def arguments(settings: Settings) -> dict[str, Any]:
    """The settings as keyword arguments of `polytask.compare`: the same words, plain values."""
    return {word: plain(value) for word, value in settings.items() if word != "data"}


def plain(value: Any) -> Any:
    """A checked value as it stands in YAML: choices by name, everything else as it is."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.plain() if isinstance(value, Choice) else value
