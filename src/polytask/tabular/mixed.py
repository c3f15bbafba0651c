"""Fitting one model to data sets of their own for each task, mixed by a schedule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polytask.data import DataSets, InTurn, Mixture, Preprocessor
from polytask.data._mixing_join import Pair
from polytask.data.data_sets import Splits
from polytask.data.sources import Key, name_of
from polytask.errors import UserError, some
from polytask.optimization.scheduling import DEFAULT
from polytask.tabular.fitted import Fitted
from polytask.tabular.fitting import (
    Choice,
    FitSettings,
    encoder_of,
    named,
    recorded,
    train_network,
)
from polytask.training import History
from polytask.training._resume import STATE

Sizes = int | Mapping[str, int]


@dataclass(frozen=True)
class Mixing:
    """How data sets are mixed; the words are those of `polytask.data.Mixture`, CLI and YAML."""

    schedule: Choice | None = None
    """None: that of `Mixture`."""
    tasks_per_step: int | str = 1
    """How many data sets a step draws from, or "all"."""
    steps_per_epoch: int | None = None
    """None: as many as one pass over all data sets has batches."""
    batch_size: Sizes | None = None
    """Rows a batch, one number or by data set; None: that of `FitSettings`."""


def fit_sets(
    sets: DataSets,
    splits: Splits,
    settings: FitSettings,
    mixing: Mixing | None = None,
    *,
    progress: bool = False,
    out: Path | None = None,
    resume: bool | str = True,
) -> tuple[Fitted, History]:
    """Train one network on the training parts of several data sets, drawn by a schedule.

    Inputs are filled, coded and scaled as the training rows of all data sets together say, and
    targets as those of their own. The epoch is chosen on the validation parts, each task on its
    own. `config.yaml` in `out` holds how the data sets are mixed and a hash of each.

    What goes on with `resume` is the same training, in the middle of an epoch too: the data sets
    and the schedule are taken up where they were.

    Args:
        sets: what `polytask.study.open_sets` or `DataSets.of` gives.
        splits: what `sets.split` gives.
        settings: as for `fit_dataset`; without helper tasks and teachers.
        mixing: by default every step takes one data set, in proportion to their sizes.
        progress, out, resume: as for `fit_dataset`.

    Raises:
        UserError: as `fit_dataset`; a mixture that cannot be; helper tasks or teachers; a data
            set that is not what an unfinished training in `out` began with.
        NonFiniteError: training diverged; the message says in which task, step and batch.
    """
    mixing = mixing or Mixing()
    if settings.auxiliary:
        raise UserError(
            "auxiliary: helper tasks are constructed from the rows of one data set, and here are "
            f"{len(sets.sets)}. Leave them out, or construct them beforehand and give the result."
        )
    if settings.distill is not None:
        raise UserError(
            "distill: saved teachers read the rows of one data set, and here are "
            f"{len(sets.sets)}. Give Trainer(distill=...) networks of your own, or leave it out."
        )
    rows = sets.rows(splits)
    joint = sets.dataset
    tasks = {
        name: task.fitted(joint.targets[name][rows["train"]]) for name, task in joint.tasks.items()
    }
    preprocessor = Preprocessor.fit(joint, rows["train"])
    size = settings.batch_size if mixing.batch_size is None else mixing.batch_size
    if isinstance(size, Mapping):
        size = {**dict.fromkeys(map(name_of, sets.sets), settings.batch_size), **size}
    mixture = Mixture(
        _pairs(sets, splits, "train", preprocessor),
        mixing.schedule,
        tasks_per_step=mixing.tasks_per_step,
        steps_per_epoch=mixing.steps_per_epoch,
        batch_size=size,
        seed=settings.seed,
    )
    held_out = _pairs(sets, splits, "val", preprocessor)
    sizes = {name_of(key): mixture.sources[name_of(key)].size for key in held_out}
    if out is not None and resume is not False:
        _refuse_other_data(out, sets)
    network, history = train_network(
        joint,
        preprocessor,
        tasks,
        settings,
        mixture,
        InTurn(held_out, sizes) if held_out else None,
        progress=progress,
        out=out,
        resume=resume,
        config={"mixture": _described(sets, splits, mixture)},
    )
    record = {**recorded(joint, rows, settings, history), "batch_size": size}
    record |= {"schedule": mixing.schedule or DEFAULT, "tasks_per_step": mixing.tasks_per_step}
    record["steps_per_epoch"] = mixture.steps
    fitted = Fitted(
        tasks,
        preprocessor,
        network,
        encoder_of(joint, settings),
        named("architecture", settings.architecture),
        joint.columns,
        record,
    )
    return fitted, history


def examples_seen(history: History) -> dict[str, int]:
    """How many labels of each task training has seen, over all epochs."""
    seen: dict[str, int] = {}
    for record in history.epochs:
        for word, number in record.items():
            what, _, task = word.partition("/")
            if what == "examples" and isinstance(number, int | float):
                seen[task] = seen.get(task, 0) + int(number)
    return seen


def _pairs(
    sets: DataSets, splits: Splits, part: str, preprocessor: Preprocessor
) -> dict[Key, Pair]:
    """Prepared inputs and targets of a part, of the data sets that have rows in it.

    Raises `UserError` for one without training rows.
    """
    found: dict[Key, Pair] = {}
    for key, dataset in sets.sets.items():
        rows = splits[name_of(key)][part]
        if len(rows) == 0 and part == "train":
            raise UserError(
                f"the data set of {name_of(key)!r} has no training rows; expected at least one. "
                "Leave the task out, or split it otherwise."
            )
        if len(rows):
            inputs = {name: array[rows] for name, array in dataset.inputs.items()}
            targets = {name: torch.from_numpy(a[rows]) for name, a in dataset.targets.items()}
            found[key] = (preprocessor.transform(inputs), targets)
    return found


def _described(sets: DataSets, splits: Splits, mixture: Mixture) -> dict[str, Any]:
    """What `config.yaml` holds of a mixture."""
    return {
        "how": json.loads(mixture.how()),
        "steps": mixture.steps,
        "sets": {
            name_of(key): {
                "data": dataset.name,
                "tasks": list(dataset.tasks),
                "rows": {part: len(rows) for part, rows in splits[name_of(key)].items()},
                "fingerprint": sets.fingerprints[name_of(key)],
            }
            for key, dataset in sets.sets.items()
        },
    }


def _refuse_other_data(out: Path, sets: DataSets) -> None:
    """Raise `UserError` when an unfinished training in `out` began with other rows.

    The Trainer would notice too; but as scales are learned from the rows, it would take the tasks
    for other ones, and begin anew.
    """
    import yaml

    file = out / "config.yaml"
    if not (out / STATE).is_file() or not file.is_file():
        return
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    saved = content.get("mixture", {}).get("sets", {})
    changed = [
        name
        for name, found in sets.fingerprints.items()
        if name in saved and saved[name]["fingerprint"] != found
    ]
    if changed:
        raise UserError(
            f"{out} holds an unfinished training on other data of {some(map(repr, changed), 80)}: "
            "the rows have changed since it began. Bring back the data it began with, or begin "
            "anew with --no-resume (resume=False in Python)."
        )
