"""What a constructed helper task is: a recipe that reads a data set and adds targets to it."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from polytask.data import Dataset
from polytask.data._arrays import MISSING_CODE
from polytask.errors import UserError
from polytask.tasks import Task


@dataclass(frozen=True)
class Addition:
    """What one recipe adds to a data set of N rows: targets, and maybe M training rows."""

    targets: dict[str, np.ndarray]
    """By task name, in the form of `Dataset.targets`, [N + M, ...]: N old rows, then M new ones."""
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    """Every input of the M new rows, [M, ...]; empty when there are none."""
    hidden: dict[str, Sequence[int]] = field(default_factory=dict)
    """By input name (`numeric` or `categorical`), columns that no network is to read any more."""

    @property
    def rows(self) -> int:
        """How many rows are added."""
        return len(next(iter(self.inputs.values()))) if self.inputs else 0


class Construction(ABC):
    """A recipe for helper tasks. Subclass it: `tasks` says which, `extend` makes their targets.

    A recipe is its typed keyword arguments, nothing it learns stays in it: the same recipe serves
    every seed and split. What has to be learned (edges of bins, a mean, neighbours) it learns in
    `extend` from the training rows alone. Other rows get a target only where it follows from the
    row itself and from what was learned (so that the helper's own score can be seen), and are
    left without a label otherwise. New rows are training rows.
    """

    paper: ClassVar[str] = ""
    """Author and year of the source."""
    makes: ClassVar[str] = ""
    """In a few words, what its task predicts."""
    requires: ClassVar[str] = ""
    """What it asks of the data set, in a few words; '' when nothing."""

    @abstractmethod
    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """The tasks it adds, all with role 'auxiliary', not fitted.

        Called before anything is split. Raises `UserError` when the data set does not fit.
        """

    @abstractmethod
    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """Targets for the tasks of `tasks(dataset)`.

        Args:
            dataset: as it was read, with N rows.
            train: int64 [n], the numbers of its training rows.
            seed: of whatever is drawn; the same seed draws the same.
        """


def constructed_tasks(recipes: Iterable[Construction], dataset: Dataset) -> dict[str, Task]:
    """All tasks that the recipes add, by name, in order.

    Raises `UserError` for a name that the data set or another recipe has, and for what a recipe
    cannot read.
    """
    found: dict[str, Task] = {}
    for recipe in recipes:
        for task in recipe.tasks(dataset):
            if task.name in dataset.tasks or task.name in found:
                raise UserError(
                    f"auxiliary: {type(recipe).__name__} adds a task {task.name!r}, and there is "
                    "one of that name. Rename it with name=, or leave one out."
                )
            found[task.name] = task
    return found


def construct(
    recipes: Iterable[Construction], dataset: Dataset, train: np.ndarray, seed: int = 0
) -> tuple[Dataset, np.ndarray]:
    """The data set with the targets of all recipes, and its training rows, new ones included.

    Recipes do not see each other's work. The rows that were there keep their numbers; the new
    ones follow, with labels of their own recipe only. Hidden columns stay and lose their values,
    in new rows too: preprocessing, learned from the training rows that were there before, makes
    0 of them. The order of time, the groups and the coordinates are gone: the split has been made.
    """
    recipes = list(recipes)
    tasks = constructed_tasks(recipes, dataset)
    additions = [recipe.extend(dataset, train, seed) for recipe in recipes]
    total = sum(addition.rows for addition in additions)
    targets = {name: _longer(values, total) for name, values in dataset.targets.items()}
    inputs = {name: [values] for name, values in dataset.inputs.items()}
    before = 0
    for addition in additions:
        _check_inputs(addition, dataset)
        for name, values in addition.targets.items():
            old, new = values[: dataset.n], values[dataset.n :]
            padded = _longer(old, total)
            padded[dataset.n + before : dataset.n + before + addition.rows] = new
            targets[name] = padded
        for name, values in addition.inputs.items():
            inputs[name].append(values)
        before += addition.rows
    joined = {name: np.concatenate(parts) for name, parts in inputs.items()}
    columns = _hide(joined, dataset.columns, additions)
    extended = replace(
        dataset,
        inputs=joined,
        targets=targets,
        columns=columns,
        tasks={**dataset.tasks, **tasks},
        groups=None,
        times=None,
        coordinates=None,
        stratify_on=None,
        fixed_split=None,
    )
    return extended, np.concatenate([train, np.arange(dataset.n, dataset.n + total)])


def drawn(seed: int, name: str) -> np.random.Generator:
    """Random numbers of the task `name` alone: those of another do not shift them."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def column_names(dataset: Dataset, kind: str) -> list[str]:
    """Names of the columns of `numeric` or `categorical`; `numeric_0`, ... where none are known."""
    if kind not in dataset.inputs:
        return []
    width = dataset.inputs[kind].shape[1]
    known = [str(name) for name in dataset.columns.get(kind, ())]
    return known if len(known) == width else [f"{kind}_{i}" for i in range(width)]


def without_label(shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    """An array of `shape` that holds no label, of the type of the target `like`."""
    kind = like.dtype
    missing = MISSING_CODE if np.issubdtype(kind, np.integer) else np.nan
    return np.full(shape, missing, kind)


def _longer(target: np.ndarray, rows: int) -> np.ndarray:
    """The target with so many unlabelled rows behind it."""
    if not rows:
        return target.copy()
    return np.concatenate([target, without_label((rows, *target.shape[1:]), target)])


def _hide(
    inputs: dict[str, np.ndarray], columns: Mapping[str, object], additions: Iterable[Addition]
) -> dict[str, object]:
    """Take the values out of hidden columns, in place; `columns` with their names as unread.

    Raises `UserError` when nothing is left to read.
    """
    unread: list[str] = []
    hidden: dict[str, set[int]] = {}
    for addition in additions:
        for kind, places in addition.hidden.items():
            hidden.setdefault(kind, set()).update(places)
    for kind, which in hidden.items():
        inputs[kind][:, sorted(which)] = -1 if kind == "categorical" else np.nan
        names = columns.get(kind, ())
        if isinstance(names, Sequence):
            unread += [str(name) for i, name in enumerate(names) if i in which]
    if hidden and all(len(hidden.get(kind, ())) == v.shape[-1] for kind, v in inputs.items()):
        raise UserError(
            "auxiliary: every input column is hidden from the network; expected some that are "
            "left to predict from. Hide fewer, or keep them with keep_as_input=true."
        )
    return {**columns, "unread": unread} if unread else dict(columns)


def _check_inputs(addition: Addition, dataset: Dataset) -> None:
    """New rows need every input: a network reads them all."""
    if addition.inputs and set(addition.inputs) != set(dataset.inputs):
        raise UserError(
            f"auxiliary: new rows have the inputs {sorted(addition.inputs)}, expected all of "
            f"{sorted(dataset.inputs)}. Copy those that stay as they are."
        )
