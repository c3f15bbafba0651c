"""How much two columns of labels say about each other, with an error and a null by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Measure = Callable[[Array, Array], float | None]

FEWEST = 10
"""Rows that a measure needs."""
NULL = 0.95


@dataclass(frozen=True)
class Association:
    """A measure between 0 (nothing in common) and 1, and what chance alone would give."""

    value: float
    standard_error: float
    """By resampling rows with replacement."""
    null_mean: float
    """Its mean where the rows of one of the two are shuffled: above 0, as shares of finite
    samples are."""
    null_level: float
    """What 95 % of shuffles stay below."""
    p_value: float
    """The share of shuffles, and of the value itself, that reach the value."""
    rows: int
    """Rows with a label of both that were read."""

    @property
    def clear(self) -> bool:
        """Whether the value lies above its null level."""
        return self.value > self.null_level


def associate(
    pairs: Sequence[tuple[Array, Array, Measure]],
    chance: np.random.Generator,
    resamples: int,
    permutations: int,
) -> Association | str:
    """The mean of a measure over pairs of columns; in words, why there is none.

    Args:
        pairs: two columns of the same shape [rows, places], NaN where missing, and their measure.
        chance: draws rows. Whole rows are drawn and shuffled, since places of one row are alike.
        resamples: for the standard error, at least 2.
        permutations: for the null, at least 1.
    """
    rows = len(pairs[0][0]) if pairs else 0
    if rows < FEWEST:
        return f"only {rows} rows have a label of both"
    every = np.arange(rows)
    value = _mean(pairs, every, every)
    if value is None:
        return "one of the two is constant where both have a label"
    drawn = [(rows_ := chance.integers(rows, size=rows), rows_) for _ in range(resamples)]
    spread = _known([_mean(pairs, one, other) for one, other in drawn])
    null = _known([_mean(pairs, every, chance.permutation(rows)) for _ in range(permutations)])
    if len(spread) < 2 or not len(null):
        return "labels of both are too rare for an error"
    reach = int((null >= value * (1 - 1e-12)).sum())
    return Association(
        value=value,
        standard_error=float(spread.std(ddof=1)),
        null_mean=float(null.mean()),
        null_level=float(np.quantile(null, NULL)),
        p_value=(1 + reach) / (1 + len(null)),
        rows=rows,
    )


def mutual_information(one: Array, other: Array) -> float | None:
    """Mutual information over the mean of the two entropies; codes with NaN where missing.

    As scikit-learn's `normalized_mutual_info_score`; None where either is constant.
    """
    both = ~(np.isnan(one) | np.isnan(other))
    a, b = _codes(one[both]), _codes(other[both])
    if not len(a):
        return None
    width = int(b.max()) + 1
    of_a, of_b, joint = (entropy(np.bincount(codes)) for codes in (a, b, a * width + b))
    if not of_a or not of_b:
        return None
    return float(np.clip(2 * (of_a + of_b - joint) / (of_a + of_b), 0.0, 1.0))


def correlation_ratio(classes: Array, values: Array) -> float | None:
    """The share of the variance of `values` that lies between the classes, eta squared."""
    both = ~(np.isnan(classes) | np.isnan(values))
    codes, y = _codes(classes[both]), values[both]
    counts = np.bincount(codes)
    if len(counts) < 2 or y.min() == y.max():
        return None
    y = y - y.mean()
    sums = np.bincount(codes, weights=y)
    return float(np.clip((sums**2 / counts).sum() / (y @ y), 0.0, 1.0))


def squared_correlation(one: Array, other: Array) -> float | None:
    """The square of Pearson's correlation: the share of variance that a line explains."""
    both = ~(np.isnan(one) | np.isnan(other))
    a, b = one[both], other[both]
    if not len(a) or a.min() == a.max() or b.min() == b.max():
        return None
    a, b = a - a.mean(), b - b.mean()
    a, b = a / np.sqrt(a @ a), b / np.sqrt(b @ b)
    return float(np.clip((a @ b) ** 2, 0.0, 1.0))


def entropy(counts: NDArray[np.int64]) -> float:
    """The entropy, in nats, of classes that were counted; exactly 0 for a single one."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum()) if len(shares) > 1 else 0.0


def binned(values: Array, bins: int) -> Array:
    """Which of so many equally full bins a number falls into, NaN where missing.

    Where values are tied, bins are fewer.
    """
    known = ~np.isnan(values)
    out = np.full(values.shape, np.nan)
    if known.any():
        edges = np.unique(np.quantile(values[known], np.arange(1, bins) / bins))
        out[known] = np.digitize(values[known], edges)
    return out


def _codes(classes: Array) -> Codes:
    """Classes as 0, 1, 2, ... without gaps."""
    return np.unique(classes, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _mean(pairs: Sequence[tuple[Array, Array, Measure]], one: Codes, other: Codes) -> float | None:
    """The mean over the pairs that have a value, with these rows of the one and the other."""
    found = _known([measure(a[one].ravel(), b[other].ravel()) for a, b, measure in pairs])
    return float(found.mean()) if len(found) else None


def _known(values: Sequence[float | None]) -> Array:
    return np.array([value for value in values if value is not None], dtype=np.float64)
