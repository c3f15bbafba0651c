"""What a data set is: named inputs, encoded targets, tasks, and how its rows may be split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polytask.data._arrays import MISSING_CODE, codes, input_array, instants, target_array
from polytask.data._blocks import points
from polytask.errors import UserError
from polytask.tasks import Task


@dataclass
class Dataset:
    """Rows in memory as numpy arrays, with one entry per row in every array.

    Inputs are keyed by name. Tables use `numeric` (float32 [N, d], NaN missing) and
    `categorical` (int64 [N, c] codes, -1 missing), images `image` (float32 [N, C, H, W]); any
    other name is passed on as it is. Targets are keyed by task name: regression and custom
    float32 with NaN missing, binary and multiclass int64 codes with -100 missing, multilabel
    float32 [N, k] of 0, 1 and NaN.

    Raises:
        UserError: lengths differ, a target is of the wrong type, or a code is out of range.
    """

    name: str
    inputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    tasks: dict[str, Task]
    """Insertion order is the order of tasks everywhere."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Where table inputs come from; what `transform_frame` needs for new rows."""
    groups: np.ndarray | None = None
    """int64 [N]: rows of one group never land in two parts of a group split."""
    times: np.ndarray | None = None
    """int64 or float64 [N]: the order of a time split."""
    coordinates: np.ndarray | None = None
    """float64 [N, 2]: where a row is on a plane, for a spatial split and spatial statistics."""
    stratify_on: np.ndarray | None = None
    """int64 [N]: classes of a stratified split, instead of the first classification task."""
    fixed_split: dict[str, np.ndarray] | None = None
    """Row numbers of parts that are given: a published split or the user's own test file."""
    notes: list[str] = field(default_factory=list)
    """What was inferred and decided, to be shown before training."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise UserError(
                f"data set {self.name!r} has no inputs; expected at least one array. Pass "
                "inputs={'numeric': array}."
            )
        if not self.targets:
            raise UserError(
                f"data set {self.name!r} has no targets; expected at least one. Pass "
                "targets={'price': array} and a task of that name."
            )
        if set(self.targets) != set(self.tasks):
            raise UserError(
                f"data set {self.name!r}: targets are {sorted(self.targets)} but tasks are "
                f"{sorted(self.tasks)}; expected the same names in both. Add what is missing, or "
                "leave the other out."
            )
        for key, task in self.tasks.items():
            if not isinstance(task, Task):
                raise UserError(
                    f"data set {self.name!r}: the task {key!r} is a {type(task).__name__}; "
                    f"expected a polytask.Task, as in Task({key!r}, 'regression')."
                )
            if task.name != key:
                raise UserError(
                    f"data set {self.name!r}: the task {key!r} is called {task.name!r}; expected "
                    "one name for both. Rename one of them."
                )
        self.inputs = {key: input_array(key, value) for key, value in self.inputs.items()}
        self.targets = {key: target_array(self.tasks[key], self.targets[key]) for key in self.tasks}
        self.groups = None if self.groups is None else codes("groups", self.groups)
        self.stratify_on = (
            None if self.stratify_on is None else codes("stratify_on", self.stratify_on)
        )
        self.times = None if self.times is None else instants(self.times)
        self.coordinates = None if self.coordinates is None else points(self.coordinates)
        self._check_lengths()
        self._check_fixed_split()

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(next(iter(self.inputs.values())))

    def __len__(self) -> int:
        return self.n

    def labelled(self) -> dict[str, int]:
        """How many rows carry a label, by task (multilabel: at least one)."""
        return {name: int(_has_label(self.targets[name]).sum()) for name in self.tasks}

    def subset(self, indices: np.ndarray) -> Dataset:
        """The rows `indices` (int [M], in that order) as a data set; a fixed split follows them."""
        rows = np.asarray(indices)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)

        def pick(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[rows]

        fixed = self.fixed_split
        if fixed is not None:
            fixed = {part: np.flatnonzero(np.isin(rows, kept)) for part, kept in fixed.items()}
        return Dataset(
            name=self.name,
            inputs={key: value[rows] for key, value in self.inputs.items()},
            targets={key: value[rows] for key, value in self.targets.items()},
            tasks=dict(self.tasks),
            columns=self.columns,
            groups=pick(self.groups),
            times=pick(self.times),
            coordinates=pick(self.coordinates),
            stratify_on=pick(self.stratify_on),
            fixed_split=fixed,
            notes=list(self.notes),
        )

    def save(self, folder: str | Path) -> Path:
        """Write `dataset.json` and a safetensors file into `folder`; whole or not at all.

        Raises:
            MissingExtraError: safetensors is not installed.
            UserError: a task has a loss of its own, which a file cannot hold.
        """
        from polytask.data._store import save

        return save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Dataset:
        """Read what `save` wrote.

        Raises:
            UserError: there is no saved data set in `folder`, or a file is damaged.
        """
        from polytask.data._store import load

        return load(Path(folder))

    def _check_lengths(self) -> None:
        arrays: dict[str, Mapping[str, np.ndarray | None]] = {
            "input": self.inputs,
            "target": self.targets,
            "split column": {
                "groups": self.groups,
                "times": self.times,
                "coordinates": self.coordinates,
                "stratify_on": self.stratify_on,
            },
        }
        for what, named in arrays.items():
            for key, array in named.items():
                if array is not None and len(array) != self.n:
                    raise UserError(
                        f"data set {self.name!r}: {what} {key!r} has {len(array)} rows, "
                        f"expected {self.n} as in the first input. Keep one entry a row everywhere."
                    )

    def _check_fixed_split(self) -> None:
        if self.fixed_split is None:
            return
        parts = {"train", "val", "test"}
        if not set(self.fixed_split) <= parts:
            raise UserError(
                f"fixed_split has the parts {sorted(self.fixed_split)}; expected train, val and "
                "test, or some of them. Rename them."
            )
        self.fixed_split = {
            part: self._row_numbers(part, rows) for part, rows in self.fixed_split.items()
        }
        together = np.concatenate(list(self.fixed_split.values()) or [np.empty(0, np.int64)])
        if len(together) and (together.min() < 0 or together.max() >= self.n):
            wrong = together[(together < 0) | (together >= self.n)][0]
            raise UserError(
                f"fixed_split holds {wrong}, a row outside 0..{self.n - 1}. Count rows from 0, and "
                "those of this data set."
            )
        values, counts = np.unique(together, return_counts=True)
        if len(values) != len(together):
            raise UserError(
                f"fixed_split holds a row twice ({values[counts > 1][0]}); expected parts that do "
                "not overlap. Leave it in one of them."
            )

    def _row_numbers(self, part: str, rows: np.ndarray) -> np.ndarray:
        """Rows of a part as int64 numbers; a mask of booleans becomes the numbers it means."""
        array = np.asarray(rows)
        if array.dtype == bool and array.shape == (self.n,):
            return np.flatnonzero(array)
        if array.ndim != 1 or (len(array) and not np.issubdtype(array.dtype, np.integer)):
            raise UserError(
                f"fixed_split[{part!r}] is of type {array.dtype} and shape {array.shape}; expected "
                f"row numbers, or one true or false for each of the {self.n} rows."
            )
        return array.astype(np.int64)


def _has_label(target: np.ndarray) -> np.ndarray:
    """bool [N]: rows with at least one label."""
    if np.issubdtype(target.dtype, np.integer):
        present = target != MISSING_CODE
    else:
        present = ~np.isnan(target)
    labelled: np.ndarray = present.reshape(len(present), -1).any(axis=1)
    return labelled
