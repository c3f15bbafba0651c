"""How far an estimator agrees with pairwise training, and what its groups are worth by that."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.relationships import Affinity, Grouping, predict_group_losses

FEWEST = 3
"""Pairs of numbers that a rank correlation needs."""
DRAWS = 1000
LEVEL = 0.95

Array = NDArray[np.float64]


def agreement(ours: Affinity, theirs: Affinity) -> dict[str, Any]:
    """Spearman's correlation of two affinities of the same tasks, over what both know.

    Entries of the diagonal are left out. The interval is the bootstrap's over tasks: tasks, not
    entries, are drawn with replacement, since all entries of a task go up and down together; an
    entry counts as often as both its tasks were drawn. With few tasks it is wide, as it should be;
    it is None where most draws leave too little to correlate. It does not cover the noise of the
    affinities themselves.

    Returns `{"spearman", "low", "high", "pairs"}` or `{"undefined": reason}`.
    """
    one, other = ours.values, theirs.values
    size = len(ours.tasks)
    known = np.isfinite(one) & np.isfinite(other) & ~np.eye(size, dtype=bool)
    found = spearman(one[known], other[known])
    if found is None:
        few = int(known.sum()) < FEWEST
        reason = f"fewer than {FEWEST} entries are known to both" if few else "all entries tie"
        return {"undefined": reason}
    draw = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        tasks = draw.integers(size, size=size)
        rows, columns = np.repeat(tasks, size), np.tile(tasks, size)
        kept = known[rows, columns]
        value = spearman(one[rows, columns][kept], other[rows, columns][kept])
        if value is not None:
            drawn.append(value)
    low = high = None
    if 2 * len(drawn) > DRAWS:
        tail = (1 - LEVEL) / 2
        low, high = (float(v) for v in np.quantile(drawn, [tail, 1 - tail]))
    return {"spearman": found, "low": low, "high": high, "pairs": int(known.sum())}


def spearman(one: Array, other: Array) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None with too few or constant ones."""
    from scipy.stats import rankdata

    if len(one) < FEWEST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (one, other)]
    product = float(ranks[0] @ ranks[1])
    return product / math.sqrt(float(ranks[0] @ ranks[0]) * float(ranks[1] @ ranks[1]))


def worth(grouping: Grouping, pairwise: Affinity) -> float | None:
    """Mean gain of all tasks in their groups that pairwise training foretells, in percent.

    By the higher-order approximation (`predict_group_losses`): in a group a task gains the mean of
    what it gains in the pairs; alone it gains nothing. None where a pair is not known.
    """
    losses: dict[tuple[str, ...], dict[str, float]] = {(t,): {t: 0.0} for t in pairwise.tasks}
    for i, one in enumerate(pairwise.tasks):
        for j in range(i):
            other = pairwise.tasks[j]
            losses[one, other] = {one: -pairwise.values[i, j], other: -pairwise.values[j, i]}
    predicted = predict_group_losses(losses)
    gained = []
    for task, group in grouping.assignment.items():
        try:
            gained.append(-predicted[group][task])
        except KeyError:
            return None
    return math.fsum(gained) / len(gained)
