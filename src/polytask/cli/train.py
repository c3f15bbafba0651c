"""`polytask train`: one model of one data set or several, tested on rows it has not seen."""

from __future__ import annotations

import json as jsonlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._checks import check, check_data
from polytask.cli._config import Settings, gather
from polytask.cli._data import load
from polytask.cli._distill import saved_teachers
from polytask.cli._mixture import load_sets, mixing_of, read_sizes, rows, sources_of
from polytask.cli._plugins import Plugins, bring
from polytask.cli._show import (
    console,
    quiet_stdout,
    show_dataset,
    show_left_out,
    show_scores,
    spoken,
)
from polytask.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from polytask.data import Dataset, DataSets
    from polytask.tabular import FitSettings, Fitted

TRAINER_WORDS = (
    "optimizer", "weight_decay", "scheduler", "warmup", "clip_norm", "accumulate", "precision",
    "device", "checkpoint_every",
)  # fmt: skip


def train(
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
    method: Annotated[
        options.Named,
        Parameter(help="How tasks are balanced: polytask list methods. [default: linear]"),
    ] = None,
    architecture: Annotated[
        options.Named,
        Parameter(help="How they share: polytask list architectures. [default: hard_sharing]"),
    ] = None,
    encoder: options.Encoder = None,
    auxiliary: options.Auxiliary = None,
    distill: Annotated[
        options.Distill,
        Parameter(
            metavar="from=FOLDER|TASK=FOLDER [OPTION=VALUE]...",
            help="Saved models to learn from, one for all tasks or one each; form is annealed, "
            "soft, ensemble or features. [default: none]",
        ),
    ] = None,
    statistic: options.Statistic = None,
    epochs: Annotated[
        options.Epochs, Parameter(help="Most passes over the rows. [default: 100]")
    ] = None,
    schedule: Annotated[
        options.Named,
        Parameter(
            group=options.FIT,
            help="Which data set's turn it is, of several: polytask list schedules. "
            "[default: temperature:alpha=0.5]",
        ),
    ] = None,
    tasks_per_step: options.TasksPerStep = None,
    steps_per_epoch: options.StepsPerEpoch = None,
    batch_size: Annotated[options.SeveralSizes, options.rows_by_set(rows, 128)] = None,
    lr: Annotated[
        float | None,
        Parameter(group=options.FIT, metavar="X", help="Learning rate. [default: 1e-3]"),
    ] = None,
    optimizer: options.Optimizer = None,
    weight_decay: options.WeightDecay = None,
    scheduler: options.Scheduler = None,
    warmup: options.Warmup = None,
    clip_norm: options.ClipNorm = None,
    accumulate: options.Accumulate = None,
    patience: Annotated[
        options.Patience, Parameter(help="Stop after N epochs without a better one. [default: 20]")
    ] = None,
    precision: options.Precision = None,
    select: options.Select = None,
    seed: Annotated[
        options.Whole,
        Parameter(
            group=options.FIT, metavar="N", help="Of the split and the weights. [default: 0]"
        ),
    ] = None,
    device: options.Device = None,
    checkpoint_every: options.CheckpointEvery = None,
    out: Annotated[
        Path | None,
        Parameter(
            group=options.OUTPUT,
            metavar="FOLDER",
            help="Where the model goes. [default: models/NAME]",
        ),
    ] = None,
    resume: options.Resume = None,
    plugins: Plugins = None,
    progress: options.Progress = None,
    json: options.Json = False,
) -> None:
    """Fit one model on a table or a registered data set, or one for each task, and test it."""
    bring(plugins)
    settings = check(read_sizes(gather(train, config, locals())))
    if "distill" in settings:
        settings["distill"] = saved_teachers(settings["distill"], settings.where("distill"))
    sources = sources_of(settings)
    source = check_data(settings) if sources is None else None
    screen = console(json=json)
    with quiet_stdout(json), spoken(settings.get("progress")):
        if source is None:
            sets = load_sets(settings, sources or {})
            dataset = sets.dataset
        else:
            sets, dataset = None, load(settings, source)
        show_dataset(screen, dataset)
        folder = _folder(settings, dataset.name)
        result = _fit(dataset, sets, settings, folder, screen)
        show_scores(screen, result)
        if result["taken_up"]:
            text = f"{result['taken_up']}; --no-resume trains anew"
            screen.print(text, markup=False, highlight=False, soft_wrap=True)
        flag = f" {shlex.join(['--plugins', *map(str, plugins)])}" if plugins else ""
        use = f"polytask predict --model {folder} --data NEW --out PREDICTIONS{flag}"
        if any(task["places"] for task in result["tasks"].values()):
            # Maps have no room in the table that `predict` writes.
            use = f"in Python, polytask.tabular.Fitted.load({str(folder)!r}).outputs(inputs)"
        screen.print(
            f"model: {folder}\nuse it: {use}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if json:
        print(jsonlib.dumps(result, indent=2))


def _fit(
    dataset: Dataset, sets: DataSets | None, settings: Settings, folder: Path, screen: Console
) -> dict[str, Any]:
    """Train, test and save; what `--json` prints. `sets` are several data sets, if there are."""
    from polytask.data import make_splits
    from polytask.data.gaps import gaps
    from polytask.tabular import fit_dataset, fit_sets
    from polytask.tabular.mixed import examples_seen

    recipe = _recipe(settings)
    wanted = {w: settings[w] for w in ("split", "test_fraction", "val_fraction") if w in settings}
    how: dict[str, Any] = {
        "progress": settings.get("progress", True),
        "out": folder,
        "resume": "finished" if settings.get("resume", True) else False,
    }
    if sets is None:
        splits = make_splits(dataset, seed=recipe.seed, **wanted)
    else:
        parts = sets.split(seed=recipe.seed, **wanted)
        splits = sets.rows(parts)
    left_out = gaps(dataset, splits)
    show_left_out(screen, left_out, everything="--json has all")
    if sets is None:
        fitted, history = fit_dataset(dataset, splits, recipe, **how)
    else:
        fitted, history = fit_sets(sets, parts, recipe, mixing_of(settings), **how)
    for remark in history.remarks:
        screen.print(f"note: {remark}", markup=False, highlight=False, soft_wrap=True)
    seen = examples_seen(history)
    if sets is not None:
        told = ", ".join(f"{name} {number:,}" for name, number in seen.items())
        screen.print(f"examples seen: {told}", markup=False, highlight=False, soft_wrap=True)
    if fitted.helpers:
        names = ", ".join(fitted.helpers)
        screen.print(f"trained along: {names}", markup=False, highlight=False, soft_wrap=True)
    scores = _test(fitted, dataset, splits)
    fitted.settings["test"] = scores
    fitted.save(folder)
    return {
        "data": dataset.name,
        "notes": dataset.notes + left_out + history.remarks,
        "rows": {part: len(rows) for part, rows in splits.items()},
        "labelled": _labelled(fitted, dataset, splits),
        "tasks": {name: task.to_dict() for name, task in fitted.tasks.items()},
        "helpers": {name: task.to_dict() for name, task in fitted.helpers.items()},
        "epochs": len(history.epochs),
        "examples": seen,
        "best_epoch": history.best_epoch,
        "taken_up": history.taken_up,
        "seconds": round(history.seconds, 3),
        "test": scores,
        "out": str(folder),
    }


def _recipe(settings: Settings) -> FitSettings:
    """The settings as the fitting code names them; what is not set keeps its default."""
    from polytask.tabular import FitSettings

    words = ("epochs", "batch_size", "lr", "patience", "select", "seed", "distill")
    given = {word: settings[word] for word in words if word in settings}
    if isinstance(given.get("batch_size"), dict):
        del given["batch_size"]  # by data set: see `mixing_of`
    for word in ("method", "architecture", "encoder"):
        if word in settings:
            given[word] = settings[word].plain()
    if "auxiliary" in settings:
        given["auxiliary"] = [choice.plain() for choice in settings["auxiliary"]]
    if "statistic" in settings:
        name, arguments = "linear", {}
        if "method" in settings:
            name, arguments = settings["method"].name, settings["method"].arguments
        given["method"] = {name: {"statistic": settings["statistic"], **arguments}}
    more = {word: settings[word] for word in TRAINER_WORDS if word in settings}
    return FitSettings(**given, options=more)


def _test(fitted: Fitted, dataset: Dataset, splits: dict[str, Any]) -> dict[str, Any]:
    """Metrics on the test rows, beside those of the best constant: task -> metric -> number."""
    import torch

    from polytask.tasks import evaluate
    from polytask.training.history import plain

    rows = splits["test"]
    outputs = fitted.outputs({name: array[rows] for name, array in dataset.inputs.items()})
    targets = {name: torch.from_numpy(dataset.targets[name][rows]) for name in fitted.tasks}
    scores: dict[str, Any] = {}
    for name, row in evaluate(fitted.tasks, outputs, targets).items():
        known = dataset.targets[name][splits["train"]]
        constant = fitted.tasks[name].trivial(known, targets[name])
        scores[name] = plain({**row, "best constant": constant})
    return scores


def _labelled(fitted: Fitted, dataset: Dataset, splits: dict[str, Any]) -> dict[str, Any]:
    """How many rows of every part have a label: task -> part -> rows."""
    found: dict[str, Any] = {}
    for name, task in fitted.tasks.items():
        known = task.labelled(dataset.targets[name])
        if known.ndim > 1:  # a row of a map has a label at some place
            known = known.flatten(1).any(1)
        found[name] = {part: int(known[rows].sum()) for part, rows in splits.items()}
    return found


def _folder(settings: Settings, name: str) -> Path:
    """Where the model goes: a new folder, or one that holds an earlier model."""
    from polytask.tabular.fitted import CARD

    folder: Path = settings.get("out", Path("models") / name)
    if folder.is_dir() and any(folder.iterdir()):
        ours = (folder / CARD).exists() or (folder / "config.yaml").exists()
        if not ours or (folder / "study.yaml").exists():
            raise UserError(
                f"{settings.where('out')}: {folder} holds other files; "
                "name a new folder, or one with a model to replace"
            )
    return folder
