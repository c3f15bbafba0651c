"""`polytask relate`: which tasks should share a network, with evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from polytask.cli import _checks
from polytask.cli import _options as options
from polytask.cli._config import gather
from polytask.cli._methods import scalar
from polytask.cli._plugins import Plugins, bring
from polytask.cli._study import carry_out
from polytask.errors import UserError, unknown

if TYPE_CHECKING:
    from polytask.cli._config import Settings

GROUPS = Group("Groups", sort_key=1.5)
TREES = ("rsa", "cka")
"""Estimators that can tell where to branch."""
ALONE = ("auto", "never")
BUDGETS = ("networks", "parameters", "latency")


def relate(
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
    max_groups: Annotated[
        options.Whole,
        Parameter(group=GROUPS, metavar="N", help="Networks at most. [default: 3, or the budget]"),
    ] = None,
    budget: Annotated[
        float | None,
        Parameter(
            group=GROUPS,
            metavar="X",
            help="What the networks may cost together: 2.5 networks, or 2.5 times one network for "
            "all tasks, see --budget-in. [default: none]",
        ),
    ] = None,
    budget_in: Annotated[
        str | None,
        Parameter(
            group=GROUPS,
            metavar="UNIT",
            help="What the budget counts: networks, parameters or latency (time to predict); "
            "1 is one network for all tasks. [default: networks]",
        ),
    ] = None,
    estimators: Annotated[
        list[str] | None,
        Parameter(
            group=GROUPS,
            consume_multiple=options.MANY,
            metavar="NAME[:ARG=VALUE,...]...",
            help="How to measure who helps whom (polytask list estimators); the first decides. "
            "[default: lookahead]",
        ),
    ] = None,
    affinity: Annotated[
        Path | None,
        Parameter(
            group=GROUPS,
            metavar="FILE",
            help="Affinities of your own, as Affinity.save writes them, instead of estimators.",
        ),
    ] = None,
    alone: Annotated[
        str | None,
        Parameter(
            group=GROUPS,
            metavar="VALUE",
            help="What a task in a network of its own counts: a number, never (not allowed) or "
            "auto (0 where affinities are gains, else never). [default: auto]",
        ),
    ] = None,
    check: Annotated[
        bool | None,
        Parameter(
            group=GROUPS,
            help="Train the groups, all in one, each alone and random groups, and compare them on "
            "test. [default: yes]",
        ),
    ] = None,
    randoms: Annotated[
        options.Whole,
        Parameter(group=GROUPS, metavar="N", help="Random groupings in the check. [default: 3]"),
    ] = None,
    branches: Annotated[
        bool | str | None,
        Parameter(
            group=GROUPS,
            negative=(),
            help="Also find where one network should branch (by rsa, or --branches cka), and check "
            "that one too.",
        ),
    ] = None,
    method: Annotated[
        options.Named,
        Parameter(
            help="How the tasks of a network are balanced (polytask list methods). "
            "[default: linear]",
        ),
    ] = None,
    architecture: Annotated[
        options.Named,
        Parameter(help="How they share it (polytask list architectures). [default: hard_sharing]"),
    ] = None,
    encoder: options.Encoder = None,
    statistic: options.Statistic = None,
    seeds: Annotated[options.Seeds, Parameter(help=f"Repeat the check {options.REPEAT}")] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: Annotated[
        options.Rates, options.tried("every network is tried with; the middle one measures")
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
    out: Annotated[Path | None, options.kept("runs/NAME-relate")] = None,
    plugins: Plugins = None,
    progress: options.Progress = None,
    json: options.Json = False,
) -> None:
    """Find out which tasks should share a network, and check that it pays."""
    bring(plugins)
    settings = check_groups(_checks.check(gather(relate, config, locals())))
    source = _checks.check_data(settings)
    carry_out("relate", settings, source, json=json)


def check_groups(settings: Settings) -> Settings:
    """Check the words on groups and bring `alone` to its final form, in place.

    Raises `UserError`, naming the flag or the key.
    """
    if "affinity" in settings and "estimators" in settings:
        raise UserError(
            f"{settings.where('affinity')} gives the affinities, so nothing is left to measure. "
            f"Leave out {settings.where('estimators')}, or the file"
        )
    if isinstance(settings.get("branches"), str) and settings["branches"] not in TREES:
        where = settings.where("branches")
        raise UserError(f"{where}: {unknown('estimator of branches', settings['branches'], TREES)}")
    if settings.get("budget_in", BUDGETS[0]) not in BUDGETS:
        where = settings.where("budget_in")
        raise UserError(f"{where}: {unknown('unit', settings['budget_in'], BUDGETS)}")
    if "budget_in" in settings and "budget" not in settings:
        where = settings.where("budget_in")
        raise UserError(f"{where} says what a budget counts, and there is none. Say --budget 2")
    if "budget" in settings and not 1 <= settings["budget"] < float("inf"):
        raise UserError(
            f"{settings.where('budget')} should be at least 1, what one network for all tasks "
            f"costs, found {settings['budget']!r}"
        )
    if "alone" in settings:
        value = scalar(settings["alone"])
        if isinstance(value, bool) or not (value in ALONE or isinstance(value, int | float)):
            raise UserError(
                f"{settings.where('alone')} should be a number, never or auto, found {value!r}"
            )
        settings["alone"] = value
    return settings
