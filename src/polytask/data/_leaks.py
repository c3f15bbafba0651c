"""Inputs that give the answer away: a copy of the target under another name, or its twin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from polytask.tasks import Task

ROWS = 10_000
"""Rows looked at: whoever copies a column copies all of it."""
FEWEST = 10
"""In fewer labelled rows than this, columns agree by chance."""
SAME = 1 - 1e-9
BLOCK = 512


def leaks(
    tasks: Mapping[str, Task],
    targets: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    names: Mapping[str, Sequence[str]],
) -> list[str]:
    """One note for each input, and each other target, that says all of a target.

    A number does when it is the target times and plus a constant; categories and class codes do
    when each goes with one class and the other way round, on all rows that have both.
    Cost: one pass over at most 10,000 rows.
    """
    notes: list[str] = []
    flat = {name: _column(task, targets[name][:ROWS]) for name, task in tasks.items()}
    columns = {name: column for name, column in flat.items() if column is not None}
    seen: list[str] = []
    for name, target in columns.items():
        discrete = tasks[name].kind != "regression"
        notes += [
            f"targets {twin} and {name} say the same {_where(columns[twin], target)}"
            for twin in seen
            if _same(columns[twin], target, discrete)
        ]
        seen.append(name)
        notes += [
            f"{column}: says the same as the target {name} {where}; if it is known only with the "
            "answer, drop it"
            for column, where in _copies(target, discrete, inputs, names)
        ]
    return notes


def _copies(
    target: np.ndarray,
    discrete: bool,
    inputs: Mapping[str, np.ndarray],
    names: Mapping[str, Sequence[str]],
) -> Iterator[tuple[str, str]]:
    """The inputs that say the same as a target, float [N] with NaN for missing, and where."""
    for sort in ("numeric", "categorical") if discrete else ("numeric",):
        values = inputs.get(sort, np.empty((0, 0)))[:ROWS]
        for low in range(0, values.shape[1], BLOCK):
            block = values[:, low : low + BLOCK].astype(np.float64)
            if sort == "categorical":
                block[block < 0] = np.nan
            for i in _candidates(block, target, discrete):
                if _same(block[:, i], target, discrete):
                    yield names[sort][low + i], _where(block[:, i], target)


def _candidates(block: np.ndarray, target: np.ndarray, discrete: bool) -> np.ndarray:
    """Columns of a block that are worth a closer look: those that agree on the first 200 labels."""
    some = np.flatnonzero(~np.isnan(target))[:200]
    if len(some) < FEWEST:
        return np.empty(0, np.int64)
    if discrete:
        order = some[np.argsort(target[some], kind="stable")]
        steps = np.diff(block[order], axis=0)[np.diff(target[order]) == 0]
        return np.flatnonzero((np.isnan(steps) | (steps == 0)).all(axis=0))
    values = block[some]
    there = ~np.isnan(values)
    count = np.maximum(there.sum(axis=0), 1)
    y = np.where(there, target[some, None], 0.0)
    x = np.where(there, values, 0.0)
    x = np.where(there, x - x.sum(axis=0) / count, 0.0)
    y = np.where(there, y - y.sum(axis=0) / count, 0.0)
    product, size = (x * y).sum(axis=0), np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return np.flatnonzero(np.abs(product) >= (1 - 1e-6) * size)


def _where(column: np.ndarray, target: np.ndarray) -> str:
    """In how many rows two columns were compared: where few have both, chance may agree."""
    both = ~np.isnan(column) & ~np.isnan(target)
    return "in every row" if both.all() else f"in all {both.sum()} rows that have both"


def _same(column: np.ndarray, target: np.ndarray, discrete: bool) -> bool:
    """Whether each value of one goes with one value of the other (numbers: along a line)."""
    both = ~np.isnan(column) & ~np.isnan(target)
    a, b = column[both], target[both]
    if len(a) < FEWEST or a.min() == a.max() or b.min() == b.max():
        return False
    if not discrete:
        return abs(float(np.corrcoef(a, b)[0, 1])) >= SAME
    pairs = len(np.unique(np.stack([a, b]), axis=1).T)
    return pairs == len(np.unique(a)) == len(np.unique(b))


def _column(task: Task, target: np.ndarray) -> np.ndarray | None:
    """A target as float64 [N], NaN missing; None where it has several values a row."""
    if target.ndim > 1 or task.kind not in ("regression", "binary", "multiclass"):
        return None
    values = target.astype(np.float64)
    if task.kind != "regression":
        values[target < 0] = np.nan
    return values
