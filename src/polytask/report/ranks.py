"""Ranks of methods over data sets, and whether they differ beyond chance. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 5
"""Fewer data sets than this make no test of ranks: it could not find what is there."""
LEVEL = 0.05


@dataclass(frozen=True)
class RankTest:
    """Friedman's test in Iman and Davenport's form, and Nemenyi's critical difference."""

    p: float
    critical: float
    """Mean ranks further apart differ beyond chance, if the test as a whole is significant."""
    sets: int
    methods: int

    @property
    def significant(self) -> bool:
        """Whether the methods differ at all."""
        return self.p < LEVEL


def ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value, 1 = largest; equal values share the mean of their places."""
    return [
        1.0 + sum(other > value for other in values) + (sum(o == value for o in values) - 1) / 2
        for value in values
    ]


def mean_ranks(rows: Sequence[Sequence[float]]) -> list[float]:
    """Mean over rows (one a data set) of the rank of each column (one a method)."""
    table = [ranks(row) for row in rows]
    return [math.fsum(column) / len(table) for column in zip(*table, strict=True)]


def rank_test(rows: Sequence[Sequence[float]]) -> RankTest | None:
    """Do the columns differ over the rows? None where the question cannot be answered.

    `rows` holds one score a method for each of several INDEPENDENT data sets, larger = better.
    Needs `FEWEST` rows and three columns. The F form of Friedman's statistic, because the
    chi-squared form is too timid with few data sets (Iman & Davenport, 1980), and the critical
    difference of Nemenyi for all pairs, as in Demšar (JMLR 7, 2006).
    """
    from scipy.stats import f, studentized_range

    sets, methods = len(rows), len(rows[0]) if rows else 0
    if sets < FEWEST or methods < 3:
        return None
    table = [ranks(row) for row in rows]
    middle = (methods + 1) / 2
    sums = [math.fsum(column) for column in zip(*table, strict=True)]
    between = math.fsum((s - sets * middle) ** 2 for s in sums) / sets
    total = math.fsum((rank - middle) ** 2 for row in table for rank in row)
    if total == 0:
        return None  # every method ties with every other on every set
    # Analysis of variance of the ranks: the same F, and right under ties as well.
    within = total - between
    if within <= 1e-12 * total:
        p = math.factorial(methods) ** -(sets - 1.0)  # every set has the same order
    else:
        freedom = (methods - 1, (methods - 1) * (sets - 1))
        p = float(f.sf((sets - 1) * between / within, *freedom))
    quantile = float(studentized_range.ppf(1 - LEVEL, methods, math.inf)) / math.sqrt(2)
    critical = quantile * math.sqrt(methods * (methods + 1) / (6 * sets))
    return RankTest(p, critical, sets, methods)
