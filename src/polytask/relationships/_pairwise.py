"""Groups valued by their pairs: a task's value is the mean over its companions in the group."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.relationships._beam import beam_groups, neighbours
from polytask.relationships._bound import upper_bound
from polytask.relationships._choice import ROUNDING, TIE, choose
from polytask.relationships._climb import climb
from polytask.relationships._columns import Array
from polytask.relationships._costs import LinearCosts
from polytask.relationships._selection import LAST

Members = NDArray[np.bool_]

EXACT = 20
"""Tasks up to which every group is looked at."""
PIECE = 1 << 15
CLIMBS = 8
"""How often, beyond, the neighbours of the best groups join those that were met."""


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
    """The best groups: of all there are up to 20 tasks, of those that a search meets beyond.

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
    room = math.inf if budget is None else budget * (1.0 + ROUNDING)
    counts = [limit]
    if budget is not None and isinstance(cost_of, LinearCosts):
        limit = max(1, min(limit, cost_of.affordable(budget, bool(np.isfinite(pairs.alone).any()))))
        # Groups that have each task once are the cheapest; one group less leaves some to spare.
        apart = cost_of.partition(budget)
        counts = sorted({min(max(1, n), limit) for n in (limit, apart, apart - 1)})
    met = [beam_groups(pairs.values, pairs.alone, count) for count in counts]
    members = np.unique(np.concatenate([groups for groups, _ in met]), axis=0)
    starts = [answer for _, answers in met for answer in answers]
    best, value = starts[0], -math.inf
    for _ in range(CLIMBS):
        found = _choose(tasks, pairs, members, most, budget, cost_of, "tried").members
        for start in [found, *starts]:
            if cost_of(start).sum() <= room and np.isfinite(_value(pairs, start)):
                risen = climb(start, pairs.gains, cost_of, room)
                found = max(found, risen, key=lambda groups: _value(pairs, groups))
        new, starts = _value(pairs, found), []
        if new <= value + 1e-9 * abs(value):
            break
        best, value = found, new
        members = np.unique(np.concatenate([members, neighbours(best)]), axis=0)
    served = pairs.gains(best).max(1)
    bound = upper_bound(pairs.values, pairs.alone, limit, served, value)
    spread = float(np.nanmax(served) - np.nanmin(pairs.values))
    return Groups(best, bound - value if bound - value > TIE * spread else 0.0)


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
    last = LAST if looked_at == "known" else 0
    found = choose(tasks, gains, members, cost_of(members), most, budget, looked_at, last)
    return Groups(members[found.columns], found.gap)
