"""Targets as columns of numbers or classes, and which columns of two tasks belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polytask.auxiliary._association import (
    Array,
    Measure,
    binned,
    correlation_ratio,
    mutual_information,
    squared_correlation,
)
from polytask.errors import UserError

if TYPE_CHECKING:
    from polytask.tasks import Task

COLUMNS = 8
"""Most labels or outputs of a task that are read for an association."""
ITEMS = 20_000
"""Most places, of all rows together, that are read."""
CLASSES = ("binary", "multiclass", "multilabel")


def columns_of(task: Task, target: np.ndarray) -> Array:
    """A target as floats [rows, outputs or labels, *places], NaN where missing."""
    values = target.astype(np.float64)
    if task.kind in CLASSES:
        values = np.where(target == -100, np.nan, values)
    if np.isinf(values).any():
        raise UserError(
            f"the target {task.name!r} holds infinite values; expected numbers. Mark what is "
            "missing as NaN."
        )
    several = task.kind == "multilabel" or (task.kind == "regression" and task.size > 1)
    several |= task.kind == "custom" and values.ndim > 1
    # A single output may have an axis of its own, of length 1.
    alone = task.kind == "regression" and task.size == 1 and values.shape[1:2] == (1,)
    return values if several or alone else values[:, None]


@dataclass
class Pair:
    """A candidate and the main task, and how they are to be read."""

    task: Task
    main: Task
    mine: Array
    theirs: Array
    chance: np.random.Generator
    bins: int
    max_rows: int

    def read(self) -> tuple[list[Array], list[Array]] | str:
        """Columns [rows, places] of both, rows and places being drawn; or why there are none."""
        for task in (self.task, self.main):
            if task.kind == "custom":
                return f"{task.name!r} is a custom task, whose labels are not known to be numbers"
        one, other = self.mine.shape[2:], self.theirs.shape[2:]
        if one != other:
            return f"its places {list(one)} are not those of the main task, {list(other)}"
        mine, theirs = (x.reshape(*x.shape[:2], -1) for x in (self.mine, self.theirs))
        # [rows, places]: at least one column of either has a label.
        both = _any(~np.isnan(mine)) & _any(~np.isnan(theirs))
        rows = np.flatnonzero(_any(both))
        rows = self._some(rows, self.max_rows)
        places = np.arange(both.shape[1])
        places = self._some(places, max(1, ITEMS // max(len(rows), 1)))
        drawn = [
            [x[rows, column][:, places] for column in self._some(np.arange(x.shape[1]), COLUMNS)]
            for x in (mine, theirs)
        ]
        return drawn[0], drawn[1]

    def _some(self, numbers: np.ndarray, most: int) -> np.ndarray:
        if len(numbers) <= most:
            return numbers
        return np.sort(self.chance.choice(numbers, most, replace=False))


def _any(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether anything along the second axis is true."""
    return np.logical_or.reduce(mask, axis=1)


def measured(
    pair: Pair, word: str, mine: list[Array], theirs: list[Array]
) -> list[tuple[Array, Array, Measure]]:
    """Every pair of columns with the measure that fits the two kinds."""
    numbers = pair.task.kind == "regression", pair.main.kind == "regression"
    if word == "information":
        one, other = (
            [binned(x, pair.bins) for x in columns] if number else columns
            for columns, number in zip((mine, theirs), numbers, strict=True)
        )
        return [(a, b, mutual_information) for a in one for b in other]
    if numbers == (True, True):
        return [(a, b, squared_correlation) for a in mine for b in theirs]
    if numbers == (False, True):
        return [(a, b, correlation_ratio) for a in mine for b in theirs]
    if numbers == (True, False):
        return [(a, b, _ratio_of_first) for a in mine for b in theirs]
    return []


def _ratio_of_first(values: Array, classes: Array) -> float | None:
    return correlation_ratio(classes, values)
