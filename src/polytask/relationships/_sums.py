"""Sums of recorded products by groups of steps, and the errors that the groups' spread tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

BLOCKS = 15
"""Blocks that the recorded steps of one seed are divided into, when there are so many."""
MOST = 4.0
"""By how much the norms of two tasks may differ at a step from what they are around it."""


@dataclass(frozen=True)
class Steps:
    """The recorded steps of one seed, S of them, NaN where a task was not measured."""

    cross: Array
    """G_ij / (n_i n_j), shape [S, T, T], symmetric."""
    own: Array
    """G_ii / (n_i n_j) in units of the norms' usual ratio, shape [S, T, T]: not symmetric."""

    def blocks(self) -> list[Steps]:
        """Consecutive groups, as equal as can be."""
        return [Steps(self.cross[part], self.own[part]) for part in _parts(len(self.cross))]


def read_steps(
    products: Sequence[Sequence[float | None]], norms: Sequence[Sequence[float | None]], size: int
) -> Steps:
    """The arrays of one record: upper triangles of the products, and norms, by step."""
    count = len(products)
    rows = np.array(products, dtype=np.float64).reshape(count, size * (size + 1) // 2)
    lengths = np.array(norms, dtype=np.float64).reshape(count, size)
    cross = np.empty((count, size, size))
    i, j = np.triu_indices(size)
    cross[:, i, j] = cross[:, j, i] = rows
    squares = cross.diagonal(axis1=1, axis2=2)
    known = np.where(np.isfinite(squares), lengths, np.nan)
    relative = np.empty_like(known)
    for part in _parts(count):
        relative[part] = known[part] / _medians(known[part])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.clip(relative[:, :, None] / relative[:, None, :], 1 / MOST, MOST)
    own = squares[:, :, None] * ratio
    missing = ~(np.isfinite(cross) & np.isfinite(own) & np.isfinite(own.transpose(0, 2, 1)))
    return Steps(np.where(missing, np.nan, cross), np.where(missing, np.nan, own))


def _medians(values: Array) -> Array:
    """Median of every column, NaN left out; NaN where there is nothing else."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    count = np.isfinite(values).sum(0)
    columns = np.arange(values.shape[1])
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)
    return np.asarray((ordered[low, columns] + ordered[high, columns]) / 2)


def _parts(count: int) -> list[Whole]:
    return np.array_split(np.arange(count), min(BLOCKS, count)) if count else []


class Sums:
    """Sums by group of steps, [B, T, T], over the steps that measured both tasks of a pair.

    `cross` holds those of pairs, `own` those of the first task and `other` those of the second,
    over the same steps: the result is then a cosine of vectors, one stretch of them a step.
    """

    def __init__(self, groups: Sequence[Steps], size: int) -> None:
        shape = (len(groups), size, size)
        self.cross, self.own = np.zeros(shape), np.zeros(shape)
        self.counts: Whole = np.zeros(shape, dtype=np.int64)
        for place, group in enumerate(groups):
            self.counts[place] = np.isfinite(group.cross).sum(0)
            self.cross[place] = np.nansum(group.cross, axis=0)
            self.own[place] = np.nansum(group.own, axis=0)
        self.other = self.own.transpose(0, 2, 1)
        self.live = self.counts > 0
        self.groups: Whole = self.live.sum(0)

    def scale(self) -> Array:
        """The root of the product of both tasks' means, NaN where it is not defined."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.sqrt(self.own.sum(0) * self.other.sum(0)) / self.counts.sum(0))

    def error_of(self, sums: Array) -> Array:
        """Standard error of the mean behind sums by group, from their spread about it."""
        count = self.counts.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            left = sums - self.counts * (sums.sum(0) / count)
            return np.asarray(np.sqrt((left**2).sum(0) * self.groups / (self.groups - 1)) / count)

    def clear(self, errors: float) -> NDArray[np.bool_]:
        """Whether the first task's mean lies so many standard errors above 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.own.sum(0) / self.counts.sum(0) > errors * self.error_of(self.own)

    def cosine(self) -> tuple[Array, Array]:
        """Cosines, and their errors by the jackknife for groups of unequal size."""
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = [self.cross, self.own, self.other]
            whole = _ratio(*(part.sum(0) for part in parts))
            less = _ratio(*(part.sum(0) - part for part in parts))
            inverse = self.counts.sum(0) / self.counts
            pseudo = inverse * whole - (inverse - 1) * less
            middle = np.where(self.live, pseudo / inverse, 0.0).sum(0)
            spread = np.where(self.live, (pseudo - middle) ** 2 / (inverse - 1), 0.0).sum(0)
            return whole, np.sqrt(spread / self.groups)


def _ratio(cross: Array, own: Array, other: Array) -> Array:
    return np.asarray(cross / np.sqrt(own * other))
