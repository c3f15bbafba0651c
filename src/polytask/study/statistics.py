"""The arithmetic behind a verdict: paired intervals, corrections, ranks. Pure functions.

Nothing here knows of folders, tasks' losses or networks: numbers in, numbers out, so that
every line can be checked against a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SIGNS = {"max": 1.0, "min": -1.0}
LEVEL = 0.95
ALPHA = 0.05
VERDICT_SEEDS = 5
"""Fewer paired seeds than this never make a verdict, only a leaning."""


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences with its t-interval and two-sided p-value against zero.

    `low`, `high` and `p` are None with fewer than two differences: one number says nothing
    about its own noise.
    """

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int


def paired_interval(differences: Sequence[float], *, redrawn: float = 0.0) -> Interval:
    """The 95 % t-interval of the mean of `differences`, one per seed.

    `redrawn` is n_test / n_train when every seed draws its own test split, and 0 when all
    seeds are judged on one fixed test set. Re-drawn splits overlap, so the plain variance of
    the mean, s²/n, is too small; Nadeau and Bengio (2003, doi:10.1023/A:1024068626366) use
    s² (1/n + n_test/n_train), which is what is done here.
    """
    from scipy.special import stdtr, stdtrit

    n = len(differences)
    if n == 0:
        return Interval(None, None, None, None, 0)
    mean = math.fsum(differences) / n
    if n == 1:
        return Interval(mean, None, None, None, 1)
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    error = math.sqrt(variance * (1.0 / n + redrawn))
    if error <= 1e-12 * abs(mean) or error == 0.0:
        # Every seed gave the same difference: no spread to judge by, only equal or unequal.
        return Interval(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, n)
    half = float(stdtrit(n - 1, 0.5 + LEVEL / 2)) * error
    p = 2.0 * float(stdtr(n - 1, -abs(mean) / error))
    return Interval(mean, mean - half, mean + half, p, n)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values, in the order given; None stays None and uncounted."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[i] = largest
    return adjusted


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; None where there are too few values."""
    if not values:
        return None, None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def gains(
    scores: Sequence[float | None], singles: Sequence[float | None], direction: str
) -> list[float | None]:
    """Percent gained over single-task, one per seed; positive = better, whatever the metric.

    The numerator pairs the two scores of one seed, the denominator is the magnitude of the
    MEAN single-task score: the mean over seeds is then exactly the relative change against
    the mean single-task score, and the spread is that of the paired differences. None where
    either score is missing or the mean single-task score is zero.
    """
    known = [s for s in singles if s is not None]
    scale = abs(math.fsum(known) / len(known)) if known else 0.0
    if scale == 0.0:
        return [None] * len(scores)
    sign = SIGNS[direction]
    return [
        None if score is None or single is None else 100.0 * sign * (score - single) / scale
        for score, single in zip(scores, singles, strict=True)
    ]


def mean_defined(values: Sequence[float | None]) -> float | None:
    """Mean of the values that exist; None when none does."""
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def ranks(values: Sequence[float], direction: str) -> list[float]:
    """Rank of each value, 1 = best; equal values share the mean of their places."""
    sign = SIGNS[direction]
    keys = [-sign * value for value in values]
    return [
        1.0 + sum(other < key for other in keys) + (sum(other == key for other in keys) - 1) / 2
        for key in keys
    ]


def mean_ranks(
    scores: Mapping[str, Mapping[str, float | None]], directions: Mapping[str, str]
) -> dict[str, float | None]:
    """Mean over tasks of each contender's rank; a task counts for those that have a score.

    `scores` is contender -> task -> mean test score.
    """
    collected: dict[str, list[float]] = {name: [] for name in scores}
    for task, direction in directions.items():
        there = {n: s for n, row in scores.items() if (s := row.get(task)) is not None}
        for name, rank in zip(there, ranks(list(there.values()), direction), strict=True):
            collected[name].append(rank)
    return {name: mean_defined(values) for name, values in collected.items()}


def word(differences: Sequence[float], p_adjusted: float | None) -> str:
    """The verdict on one task: "helps", "hurts", "leans ...", "no evidence" or "undefined".

    With five paired seeds or more the adjusted p-value decides at 0.05. With two to four a
    gain leans only when its sign is the same in every seed; a single seed leans by its sign
    alone (the caller must add that this says nothing about noise).
    """
    n = len(differences)
    if n == 0:
        return "undefined"
    mean = math.fsum(differences) / n
    side = "helps" if mean > 0 else "hurts"
    if n >= VERDICT_SEEDS:
        return side if p_adjusted is not None and p_adjusted < ALPHA else "no evidence"
    same_sign = all(d > 0 for d in differences) or all(d < 0 for d in differences)
    return f"leans {side}" if same_sign else "no evidence"
