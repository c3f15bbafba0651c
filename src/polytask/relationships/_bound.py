"""How good groups of many tasks can be at most: prices on tasks, and every small group.

Put a price on serving each task. A group is then worth its members' values above their prices,
and no answer is worth more than the sum of all prices and of the few groups of most worth. Groups
of up to r tasks are all looked at. For a larger one of s tasks, a member's mean over its companions
is also its average over all groups of r within: the worth of the large group is the average of
s / r times theirs, so at most s / r times the largest of them. And a member has at most the mean of
its s - 1 largest values. The lower of the two holds.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.relationships._columns import Array, Places

ENTRIES = 4_000_000
"""Members of all small groups together, at most."""
STEPS = 100
FALL = 1e-3
"""Steps become shorter when the bound hardly falls: by this share of what it is above the value."""
PATIENCE = 6
ENOUGH = 1e-9


@dataclass(frozen=True)
class Small:
    """All groups of one size: their members and what each gains there, [n, size]."""

    members: Places
    gains: Array


@dataclass(frozen=True)
class Bound:
    """What prices tell: no answer is worth more than `value`, which falls along `-slope`."""

    value: float
    slope: Array


def upper_bound(values: Array, alone: Array, most: int, start: Array, value: float) -> float:
    """No answer's sum of values is larger.

    Args:
        values: [T, T], NaN where unknown; the diagonal is not used.
        alone: [T], -inf where no group of one is allowed.
        most: groups at most.
        start: [T], what each task has in a good answer.
        value: what that answer is worth.
    """
    spread = float(np.ptp(start)) + float(np.nanmax(values) - np.nanmin(values)) or 1.0
    small = _small_groups(values, alone)
    tops = top_means(values, alone)
    found = _at(start, small, tops, most)
    prices, kept, best = start, start, found.value
    share, idle = 1.0, 0
    for _ in range(STEPS):
        length = float(found.slope @ found.slope)
        if length == 0.0 or best - value <= ENOUGH * spread:
            break
        prices = prices - share * (found.value - value) / length * found.slope
        found = _at(prices, small, tops, most)
        idle = idle + 1 if found.value > best - FALL * (best - value) else 0
        if found.value < best:
            best, kept = found.value, prices
        if idle >= PATIENCE:
            share, idle, prices = share / 2, 0, kept
            found = _at(prices, small, tops, most)
    return min(best, by_sizes(tops, most))


def by_sizes(tops: Array, most: int) -> float:
    """A bound from sizes alone.

    A group of s serves at most s tasks, so the sum over tasks of 1 / s is at most the number of
    groups. With a price on that number each task takes the size it likes best, and any price gives
    a bound; the lowest is found by ternary search.
    """
    size = len(tops)
    inverse = 1.0 / np.arange(1, size + 1)

    def at(price: float) -> float:
        return float(most * price + (tops - price * inverse).max(1).sum())

    finite = tops[np.isfinite(tops)]
    low, high = 0.0, float(finite.max() - finite.min()) * size**2
    for _ in range(100):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, second) if at(first) <= at(second) else (first, high)
    return min(at(0.0), at(low))


def top_means(values: Array, alone: Array) -> Array:
    """[T, T]: what a task has at most in a group of 1, 2, ... T tasks; -inf where it cannot."""
    size = len(values)
    table = np.where(np.eye(size, dtype=bool), np.nan, values)
    ordered = -np.sort(-table, axis=1)[:, : size - 1]  # NaN comes last
    means = np.cumsum(ordered, axis=1) / np.arange(1, size)
    return np.concatenate([alone[:, None], np.where(np.isnan(means), -np.inf, means)], axis=1)


def _small_groups(values: Array, alone: Array) -> list[Small]:
    """All groups of 1, 2, ... r tasks."""
    size = len(values)
    table = np.where(np.isfinite(values), values, -np.inf)
    found, entries = [Small(np.arange(size)[:, None], alone[:, None])], size
    for count in range(2, size + 1):
        entries += count * math.comb(size, count)
        if entries > ENTRIES and count > 2:
            break
        groups = itertools.chain.from_iterable(itertools.combinations(range(size), count))
        members = np.fromiter(groups, np.intp).reshape(-1, count)
        sums = np.zeros(members.shape)
        for i, j in itertools.permutations(range(count), 2):
            sums[:, i] += table[members[:, i], members[:, j]]
        found.append(Small(members, sums / (count - 1)))
    return found


def _at(prices: Array, small: list[Small], tops: Array, most: int) -> Bound:
    """The bound at these prices."""
    size = len(prices)
    worth = [np.maximum(s.gains - prices[s.members], 0.0).sum(1) for s in small]
    best: list[tuple[float, int, int]] = []
    for place, one in enumerate(worth):
        first = np.argpartition(-one, most - 1)[:most] if len(one) > most else np.arange(len(one))
        best += [(float(one[row]), place, int(row)) for row in first]
    best = sorted(best, reverse=True)[:most]
    largest = len(small)
    top = int(worth[-1].argmax())
    large, slope_large = 0.0, np.zeros(size)
    if largest < size:
        above = np.maximum(tops[:, largest:] - prices[:, None], 0.0)  # sizes r + 1, ... T
        sizes = np.arange(largest + 1, size + 1)
        ranked = np.cumsum(-np.sort(-above, axis=0), axis=0)
        sums = ranked[sizes - 1, np.arange(len(sizes))]
        averages = sizes / largest * worth[-1][top]
        both = np.minimum(sums, averages)
        which = int(both.argmax())
        large = float(both[which])
        if averages[which] <= sums[which]:
            slope_large[_served(small[-1], top, prices)] = -sizes[which] / largest
        else:
            order = np.argsort(-above[:, which])[: sizes[which]]
            slope_large[order[above[order, which] > 0]] = -1.0
    value, slope = float(prices.sum()), np.ones(size)
    best += [(0.0, 0, 0)] * (most - len(best))
    for own, place, row in best:
        if own >= large and own > 0:
            slope[_served(small[place], row, prices)] -= 1.0
        elif own < large:
            slope += slope_large
        value += max(own, large)
    return Bound(value, slope)


def _served(small: Small, row: int, prices: Array) -> NDArray[np.intp]:
    """The members that gain more than their price."""
    members = small.members[row]
    return members[small.gains[row] > prices[members]]
