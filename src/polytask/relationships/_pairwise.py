"""Groups valued by their pairs: a task's value is the mean over its companions in the group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.relationships._beam import beam_groups, neighbours
from polytask.relationships._bound import upper_bound
from polytask.relationships._choice import TIE, choose
from polytask.relationships._costs import LinearCosts
from polytask.relationships._selection import FEW, LAST, Array

Members = NDArray[np.bool_]

EXACT = 20
"""Tasks up to which every group is looked at."""
PIECE = 1 << 15


@dataclass(frozen=True)
class Pairs:
    """What each task gains from each companion, [T, T] with NaN, and alone, [T] with -inf."""

    values: Array
    alone: Array

    def gains(self, members: Members) -> Array:
        """[T, n] for groups [n, T]; -inf for a task outside, or with an unknown pair inside."""
        tasks = len(self.alone)
        others = ~np.eye(tasks, dtype=bool)
        known = np.isfinite(self.values)
        values = np.where(known & others, self.values, 0.0)
        unknown = (~known & others).astype(np.float64)
        out = np.empty((tasks, len(members)))
        for first in range(0, len(members), PIECE):
            piece = members[first : first + PIECE].T
            numbers = piece.astype(np.float64)
            size = numbers.sum(0)
            mean = (values @ numbers) / np.maximum(size - 1, 1)
            mean = np.where(size > 1, mean, self.alone[:, None])
            fine = piece & (unknown @ numbers == 0)
            out[:, first : first + PIECE] = np.where(fine, mean, -np.inf)
        return out


@dataclass(frozen=True)
class Groups:
    """Groups [k, T], and how far the best answer's sum of values may lie above theirs."""

    members: Members
    gap: float


def choose_by_pairs(
    tasks: Sequence[str],
    pairs: Pairs,
    most: int | None,
    budget: float | None,
    cost_of: Callable[[Members], Array],
) -> Groups:
    """The best groups: of all there are up to 20 tasks, of those a beam search meets beyond.

    Beyond, a gap counts the number of groups and, of a budget, how many groups it can pay for.

    Raises:
        UserError: limits that no answer keeps, or a task without a known pair.
    """
    size = len(tasks)
    if size <= EXACT:
        bits = np.arange(1, 1 << size, dtype=np.uint32)[:, None] >> np.arange(size, dtype=np.uint32)
        members: Members = (bits & 1).astype(bool)
        return _choose(tasks, pairs, members, most, budget, cost_of)
    limit = min(most or size, size)
    if budget is not None and isinstance(cost_of, LinearCosts):
        limit = max(1, min(limit, cost_of.affordable(budget, bool(np.isfinite(pairs.alone).any()))))
    members = beam_groups(pairs.values, pairs.alone, limit)
    best = _choose(tasks, pairs, members, most, budget, cost_of, "tried")
    value = _value(pairs, best.members)
    while True:
        near = neighbours(best.members)
        members = np.unique(np.concatenate([members, near]), axis=0)
        found = _choose(tasks, pairs, members, most, budget, cost_of, "tried")
        new = _value(pairs, found.members)
        if new <= value + 1e-9 * abs(value):
            break
        best, value = found, new
    served = pairs.gains(best.members).max(1)
    bound = upper_bound(pairs.values, pairs.alone, limit, served, value)
    spread = float(np.nanmax(served) - np.nanmin(pairs.values))
    return Groups(best.members, bound - value if bound - value > TIE * spread else 0.0)


def _value(pairs: Pairs, members: Members) -> float:
    return float(pairs.gains(members).max(1).sum())


def _choose(
    tasks: Sequence[str],
    pairs: Pairs,
    members: Members,
    most: int | None,
    budget: float | None,
    cost_of: Callable[[Members], Array],
    looked_at: str = "known",
) -> Groups:
    gains = pairs.gains(members)
    useful = np.isfinite(gains).any(0)
    if not useful.all() and useful.any():
        members, gains = members[useful], gains[:, useful]
    # Of groups that a beam search met nothing is proved: the bound comes from elsewhere.
    last = LAST if looked_at == "known" else FEW
    found = choose(tasks, gains, members, cost_of(members), most, budget, looked_at, last)
    return Groups(members[found.columns], found.gap)
