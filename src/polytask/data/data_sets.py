"""Data sets of their own for each task, read and split: ready to be trained on together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from polytask.data._arrays import MISSING_CODE
from polytask.data._digest import digest
from polytask.data.dataset import Dataset
from polytask.data.sources import Key, name_of, tasks_of
from polytask.data.splits import make_splits
from polytask.errors import UserError, some, unknown
from polytask.tasks import Task

Splits = dict[str, dict[str, np.ndarray]]
"""Rows of "train", "val" and "test" by data set, numbered within the data set."""
RECIPE = ("numeric", "categorical", "categories", "dates", "words")
"""What says which columns a table's inputs are, and their codes."""


@dataclass(frozen=True)
class DataSets:
    """Several `Dataset`s with the same inputs and tasks of their own; see `DataSets.of`."""

    sets: dict[Key, Dataset]
    """By task or tuple of tasks; each holds the targets of its own tasks only."""
    dataset: Dataset
    """All rows, one data set below the other; a task has labels in the rows of its own."""
    fingerprints: dict[str, str]
    """A hash of what each data set was read from, by name."""

    @classmethod
    def of(
        cls,
        sets: Mapping[Key, Dataset],
        fingerprints: Mapping[str, str] | None = None,
        notes: list[str] | None = None,
    ) -> DataSets:
        """Data sets by the tasks that are taken from them; other targets of theirs are left out.

        Two data sets may have labels of one task. `fingerprints` are hashes of the arrays where
        they are not given, and `notes` those of the data sets.

        Raises:
            UserError: no data set or an empty one, a task that its data set has not, inputs that
                differ, or a task that is not the same in two data sets.
        """
        if not sets:
            raise UserError("there is no data set; expected at least one, by the name of its task.")
        own = {key: _own(key, dataset) for key, dataset in sets.items()}
        _check_inputs(own)
        tasks = _tasks(own)
        first = next(iter(own.values()))
        told = [note for dataset in own.values() for note in dataset.notes]
        names = [name_of(key) for key in own]
        if len(set(names)) < len(names):
            double = next(name for i, name in enumerate(names) if name in names[:i])
            raise UserError(f"two data sets are called {double!r}; expected different names.")
        sizes = (f"{name_of(key)}: {dataset.n:,} rows" for key, dataset in own.items())
        together = Dataset(
            name="+".join(tasks),
            inputs={
                name: np.concatenate([dataset.inputs[name] for dataset in own.values()])
                for name in first.inputs
            },
            targets={name: _stacked(name, own) for name in tasks},
            tasks=tasks,
            columns=first.columns,
            notes=[*sizes, *dict.fromkeys(told if notes is None else notes)],
        )
        known = {name_of(key): _hash(dataset) for key, dataset in own.items()}
        return cls(own, together, {**known, **(fingerprints or {})})

    def split(self, **words: Any) -> Splits:
        """Parts of every data set by itself, as `make_splits` cuts them; `words` are its own.

        Raises `UserError`, naming the data set, where one cannot be split so.
        """
        found: Splits = {}
        for key, dataset in self.sets.items():
            try:
                found[name_of(key)] = make_splits(dataset, **words)
            except UserError as error:
                raise UserError(f"the data set of {name_of(key)!r}: {error}") from error
        return found

    def rows(self, splits: Splits) -> dict[str, np.ndarray]:
        """The parts of all data sets as rows of `dataset`."""
        low, found = 0, dict[str, list[np.ndarray]](train=[], val=[], test=[])
        for key, dataset in self.sets.items():
            for part, rows in splits[name_of(key)].items():
                found[part].append(rows + low)
            low += dataset.n
        return {part: np.concatenate(rows) for part, rows in found.items()}


def _own(key: Key, dataset: Dataset) -> Dataset:
    """A data set with the targets of its key only. Raises `UserError` for what it lacks."""
    name = name_of(key)
    if dataset.n == 0:
        raise UserError(
            f"the data set of {name!r} is empty: {dataset.name} has no rows. Leave the task out, "
            "or look at how its rows were chosen."
        )
    for task in tasks_of(key):
        if task not in dataset.tasks:
            raise unknown(f"task of {dataset.name}:", task, dataset.tasks)
        if not dataset.tasks[task].labelled(dataset.targets[task]).any():
            raise UserError(
                f"the data set of {name!r} has no label of {task!r} in its {dataset.n:,} rows, so "
                "there is nothing to learn. Leave the task out, or look at how its labels were "
                "read."
            )
    kept = tasks_of(key)
    return replace(
        dataset,
        targets={task: dataset.targets[task] for task in kept},
        tasks={task: dataset.tasks[task] for task in kept},
    )


def _check_inputs(sets: Mapping[Key, Dataset]) -> None:
    """Raise `UserError` unless all data sets have the same inputs."""
    (one, first), *others = sets.items()
    for key, dataset in others:
        if _form(dataset) != _form(first):
            raise UserError(
                f"the inputs of the data sets differ: {name_of(one)!r} has {_said(first)}, and "
                f"{name_of(key)!r} has {_said(dataset)}. One encoder must read all inputs, so it "
                "needs the same names, types and sizes of a row in all of them. Train tasks with "
                "other inputs by themselves, or write a network with an entrance for each and "
                "train it on a polytask.data.Mixture."
            )
        if _recipe(dataset) != _recipe(first):
            raise UserError(
                f"the input columns of the data sets of {name_of(one)!r} and {name_of(key)!r} are "
                f"not the same, or coded in another way ({_said(first)}; {_said(dataset)}). One "
                "encoder must read all inputs: give both as tables, which are then coded together, "
                "or train them by themselves."
            )


def _form(dataset: Dataset) -> dict[str, Any]:
    """Names, types and shapes of a row."""
    return {name: (value.dtype, value.shape[1:]) for name, value in dataset.inputs.items()}


def _recipe(dataset: Dataset) -> dict[str, Any]:
    return {word: dataset.columns[word] for word in RECIPE if dataset.columns.get(word)}


def _said(dataset: Dataset) -> str:
    """The inputs of a data set, in words."""
    return some(
        (f"{name} {v.dtype} {list(v.shape[1:])}" for name, v in dataset.inputs.items()), 120
    )


def _tasks(sets: Mapping[Key, Dataset]) -> dict[str, Task]:
    """The tasks of all data sets, in their order. Raises `UserError` where two disagree."""
    found: dict[str, tuple[Key, Task]] = {}
    for key, dataset in sets.items():
        for name, task in dataset.tasks.items():
            first, known = found.setdefault(name, (key, task))
            if known != task:
                raise UserError(
                    f"the task {name!r} is not the same in the data sets of {name_of(first)!r} and "
                    f"{name_of(key)!r}: expected one kind and the same classes. Rename it in one "
                    "of them."
                )
    return {name: task for name, (_, task) in found.items()}


def _stacked(task: str, sets: Mapping[Key, Dataset]) -> np.ndarray:
    """The targets of a task over all rows; missing where a data set has none."""
    known = [dataset.targets[task] for dataset in sets.values() if task in dataset.targets]
    shapes = {target.shape[1:] for target in known}
    if len(shapes) > 1:
        raise UserError(
            f"the targets of task {task!r} have rows of different shapes in its data sets "
            f"({some(map(str, sorted(shapes)))}); expected one."
        )
    example = known[0]
    mark = MISSING_CODE if np.issubdtype(example.dtype, np.integer) else np.nan
    parts = [
        dataset.targets[task]
        if task in dataset.targets
        else np.full((dataset.n, *example.shape[1:]), mark, example.dtype)
        for dataset in sets.values()
    ]
    return np.concatenate(parts)


def _hash(dataset: Dataset) -> str:
    """One hash for the inputs and the targets; reads every array once."""
    arrays = {f"input {name}": value for name, value in dataset.inputs.items()}
    arrays |= {f"target {name}": value for name, value in dataset.targets.items()}
    return digest({name: torch.from_numpy(value) for name, value in arrays.items()})
