"""What a data set is: named inputs, encoded targets, tasks, and how its rows may be split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polytask.errors import UserError
from polytask.tasks import Task

MISSING_CODE = -100
"""The class code of a missing label, as PyTorch's losses ignore it."""
FLOAT_INPUTS = ("numeric", "image")


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
    stratify_on: np.ndarray | None = None
    """int64 [N]: classes of a stratified split, instead of the first classification task."""
    fixed_split: dict[str, np.ndarray] | None = None
    """Row numbers of parts that are given: a published split or the user's own test file."""
    notes: list[str] = field(default_factory=list)
    """What was inferred and decided, to be shown before training."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise UserError(f"data set {self.name!r} has no inputs; expected at least one array.")
        if not self.targets:
            raise UserError(f"data set {self.name!r} has no targets; expected at least one.")
        if set(self.targets) != set(self.tasks):
            raise UserError(
                f"data set {self.name!r}: targets are {sorted(self.targets)} but tasks are "
                f"{sorted(self.tasks)}; every task needs its target and the other way round."
            )
        self.inputs = {key: _input_array(key, value) for key, value in self.inputs.items()}
        self.targets = {
            key: _target_array(self.tasks[key], self.targets[key]) for key in self.tasks
        }
        self.groups = None if self.groups is None else _codes("groups", self.groups)
        self.stratify_on = (
            None if self.stratify_on is None else _codes("stratify_on", self.stratify_on)
        )
        self.times = None if self.times is None else _instants(self.times)
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
                "stratify_on": self.stratify_on,
            },
        }
        for what, named in arrays.items():
            for key, array in named.items():
                if array is not None and len(array) != self.n:
                    raise UserError(
                        f"data set {self.name!r}: {what} {key!r} has {len(array)} rows, "
                        f"expected {self.n} as in the first input."
                    )

    def _check_fixed_split(self) -> None:
        if self.fixed_split is None:
            return
        parts = {"train", "val", "test"}
        if not set(self.fixed_split) <= parts:
            raise UserError(
                f"fixed_split has the parts {sorted(self.fixed_split)}; expected {sorted(parts)}."
            )
        self.fixed_split = {
            part: np.asarray(rows, dtype=np.int64) for part, rows in self.fixed_split.items()
        }
        together = np.concatenate(list(self.fixed_split.values()) or [np.empty(0, np.int64)])
        if len(together) and (together.min() < 0 or together.max() >= self.n):
            raise UserError(f"fixed_split holds a row outside 0..{self.n - 1}.")
        if len(np.unique(together)) != len(together):
            raise UserError("fixed_split holds a row twice; parts may not overlap.")


def _input_array(name: str, value: np.ndarray) -> np.ndarray:
    """An input in the type the library computes with: float32, or int64 for whole numbers."""
    array = np.asarray(value)
    if array.ndim == 0:
        raise UserError(
            f"input {name!r} is a single value; expected an array with one entry a row."
        )
    if array.dtype == bool or np.issubdtype(array.dtype, np.floating) or name in FLOAT_INPUTS:
        return _owned(array, np.float32)
    if np.issubdtype(array.dtype, np.integer):
        return _owned(array, np.int64)
    raise UserError(f"input {name!r} is of type {array.dtype}; expected numbers.")


def _owned(array: np.ndarray, dtype: type) -> np.ndarray:
    """Contiguous and writeable, copied only if need be: torch warns of read-only memory."""
    return np.require(array, dtype, ["C", "W"])


def _target_array(task: Task, value: np.ndarray) -> np.ndarray:
    """A target in its encoding, with codes checked against the task's classes."""
    array = np.asarray(value)
    if task.kind not in ("binary", "multiclass"):
        if array.dtype == object or not (
            np.issubdtype(array.dtype, np.number) or array.dtype == bool
        ):
            raise UserError(
                f"target {task.name!r} is of type {array.dtype}; expected numbers for a "
                f"{task.kind} task (encode raw labels with Task.encode)."
            )
        if np.issubdtype(array.dtype, np.integer) and task.kind == "custom":
            return _owned(array, np.int64)
        return _owned(array, np.float32)
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(
            f"target {task.name!r} is of type {array.dtype}; expected whole-number class codes, "
            f"{MISSING_CODE} where missing (encode raw labels with Task.encode)."
        )
    array = _owned(array, np.int64)
    present = array[array != MISSING_CODE]
    k = len(task.classes) or (2 if task.kind == "binary" else 0)
    if len(present) and (present.min() < 0 or (k and present.max() >= k)):
        raise UserError(
            f"target {task.name!r} holds class codes {present.min()}..{present.max()}; "
            f"expected 0..{k - 1}, or {MISSING_CODE} where missing."
        )
    return array


def _has_label(target: np.ndarray) -> np.ndarray:
    """bool [N]: rows with at least one label."""
    if np.issubdtype(target.dtype, np.integer):
        present = target != MISSING_CODE
    else:
        present = ~np.isnan(target)
    labelled: np.ndarray = present.reshape(len(present), -1).any(axis=1)
    return labelled


def _codes(name: str, values: np.ndarray) -> np.ndarray:
    """Any labels as int64 codes 0..k-1 in sorted order."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise UserError(f"{name} has shape {array.shape}; expected one value a row.")
    if array.dtype == object:
        if missing := sum(value is None or value != value for value in array):
            raise UserError(f"{name} has {missing} missing values; expected none.")
        array = array.astype(str)
    if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
        raise UserError(f"{name} has {int(np.isnan(array).sum())} missing values; expected none.")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _instants(values: np.ndarray) -> np.ndarray:
    """Times as numbers that sort: datetimes become int64 nanoseconds."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise UserError(f"times has shape {array.shape}; expected one value a row.")
    if np.issubdtype(array.dtype, np.datetime64):
        if np.isnat(array).any():
            raise UserError(f"times has {int(np.isnat(array).sum())} missing values.")
        return array.astype("datetime64[ns]").astype(np.int64)
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"times is of type {array.dtype}; expected datetimes or numbers.")
    if not np.isfinite(array).all():
        raise UserError("times has missing or infinite values; a time split needs every one.")
    return array.astype(np.float64)
