"""The best few columns of a large table, with a proof: prices and reduced costs, then HiGHS.

A column is a group, a row is a task, an entry is what the task gains where the group serves it
(-inf where it cannot). Wanted: at most `most` columns, of total cost at most `budget`, such that
the sum over tasks of the best gain among them, less the charges of the columns, is largest.

Written as a mixed integer programme over all subsets of 20 tasks this is beyond any solver. But
put a price on serving each task, and a column is worth its gains above the prices, whatever the
others do: a bound on the optimum in one pass over the table. Good prices (subgradient steps) and a
good answer (exchanges of single columns) show of nearly all columns that no better answer holds
them; HiGHS decides between those that are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.intp]

PIECE = 1 << 14
"""Columns priced at once, so that their entries stay in the processor's cache."""
WORKING = 8_000
"""Columns that a round of subgradient steps looks at."""
HALVINGS = 20
ROUNDS = 12
STEPS = 150
FALL = 0.02
"""Rounds end when the bound falls by less than this share of what it is above the answer."""
FIRST = 1_500
"""Columns that HiGHS gets at first; four times as many while others may still matter."""
FEW = 400
"""Columns that it gets where nothing is to be proved."""
LAST = 6_000
"""Columns that HiGHS gets at most where a proof is wanted."""
SLACK = 1e-9


@dataclass(frozen=True)
class Table:
    """Columns to choose from; gains are scaled to about [0, 1]."""

    gains: Array
    """[T, n]"""
    charges: Array
    """[n]"""
    costs: Array
    """[n]"""
    most: int
    budget: float
    """May be infinite."""
    step: float = 0.0
    """Values that differ, differ by at least this; 1 where columns are only counted."""

    def part(self, places: Places) -> Table:
        """Some of the columns."""
        return replace(
            self,
            gains=self.gains[:, places],
            charges=self.charges[places],
            costs=self.costs[places],
        )

    def value(self, chosen: Places) -> float:
        """What these columns are worth together; -inf where they leave out a task."""
        if not len(chosen):
            return -np.inf
        return float(self.gains[:, chosen].max(1).sum() - self.charges[chosen].sum())

    def wanted(self, chosen: Places) -> float:
        """What another answer must be worth to be better than these columns."""
        return self.value(chosen) + max(self.step - 1e-6, 0.0)


@dataclass(frozen=True)
class Priced:
    """What prices of the tasks tell about a table."""

    bound: float
    """No answer is worth more."""
    reduced: Array
    """[n]: how far an answer that must hold the column falls below the bound, negated."""
    taken: Array
    """[n]: the share of every column in the relaxed answer at these prices."""


def select(table: Table, start: Places, last: int = LAST) -> tuple[Places, float]:
    """The best columns and a bound that no answer exceeds; equal to their value when proved.

    Args:
        table: the columns.
        start: some columns that serve every task within the limits.
        last: columns that HiGHS gets at most; what is left out then shows in the bound.

    Cost: a few dozen passes over the table and one or more small mixed integer programmes.
    """
    from polytask.relationships._programme import programme

    live, seen, prices, best = _narrow(table, start)
    size = min(FIRST, last)
    while True:
        order = np.argsort(-seen.reduced, kind="stable")
        tried, left = order[:size], order[size:]
        below = np.minimum(seen.reduced, 0.0)
        room = seen.bound + below - table.wanted(best) + SLACK
        part = table.part(live[tried])
        chosen, bound = programme(part, prices, room[tried], proof=last > FEW)
        if table.value(live[tried][chosen]) > table.value(best):
            best = live[tried][chosen]
        value = table.value(best)
        rest = float((seen.bound + below[left]).max(initial=-np.inf))
        if rest <= table.wanted(best) + SLACK:
            return np.sort(best), max(bound, value)
        if size >= last:
            return np.sort(best), max(bound, rest)
        kept = seen.bound + below >= table.wanted(best) - SLACK
        live, seen = live[kept], replace(seen, reduced=seen.reduced[kept])
        size *= 4


def affordable(table: Table, start: Places) -> int:
    """No answer has more columns than this: each task must be served, within the budget."""
    ones = replace(
        table,
        gains=np.where(np.isfinite(table.gains), 0.0, -np.inf),
        charges=np.full_like(table.charges, -1.0),
    )
    return int(_narrow(ones, start)[1].bound + 1e-6)


def _narrow(table: Table, start: Places) -> tuple[Places, Priced, Array, Places]:
    """The columns that a better answer may hold, what the best prices tell, and an answer."""
    live = np.arange(table.gains.shape[1])
    best = exchange(table, start) if len(live) <= WORKING else start
    prices = table.gains[:, best].max(1)  # what each task has now
    work: Places = np.empty(0, dtype=np.intp)
    low, seen = np.inf, _priced(table, prices)
    for _ in range(ROUNDS):
        inside = table.part(live)
        if len(live) <= WORKING:
            work = live
        else:
            top = live[np.argpartition(-seen.reduced, WORKING)[:WORKING]]
            work = np.unique(np.concatenate([work[np.isin(work, live)], top, best]))
        small = table.part(work)
        best = work[exchange(small, np.searchsorted(work, best))]
        prices = _descend(small, prices, table.value(best))
        close = work[np.argsort(-_priced(small, prices).reduced)[: table.most]]
        other = work[exchange(small, np.searchsorted(work, close))]
        if table.value(other) > table.value(best):
            best = other
        seen = _priced(inside, prices)
        kept = seen.bound + np.minimum(seen.reduced, 0.0) >= table.wanted(best) - SLACK
        kept |= np.isin(live, best)
        fell, low = low - seen.bound, min(low, seen.bound)
        live, seen = live[kept], replace(seen, reduced=seen.reduced[kept])
        spare = low - table.wanted(best)
        if len(live) <= FIRST // 4 or spare <= SLACK or fell < FALL * spare:
            break
    return live, seen, prices, best


def exchange(table: Table, start: Places) -> Places:
    """Put one column in the place of another, or of none, for as long as that is better."""
    none = -10.0 * (len(table.gains) + 1)  # far below what any answer is worth
    gains = np.maximum(table.gains, none)
    chosen = list(start[: table.most])
    while len(chosen) > 1 and table.costs[chosen].sum() > table.budget:
        chosen.pop()
    if not chosen or table.costs[chosen].sum() > table.budget:
        chosen = []

    def worth(columns: list[int]) -> float:
        served = gains[:, columns].max(1) if columns else np.full(len(gains), none)
        return float(served.sum() - table.charges[columns].sum())

    value = worth(chosen)
    better = True
    while better:
        better = False
        # The last place is an empty one: something may be added there.
        for place in range(min(len(chosen) + 1, table.most)):
            others = chosen[:place] + chosen[place + 1 :]
            fits = table.costs <= table.budget - table.costs[others].sum()
            served = gains[:, others].max(1) if others else np.full(len(gains), none)
            offers = np.maximum(gains, served[:, None]).sum(0) - table.charges
            offers = np.where(fits, offers, -np.inf)
            found = int(np.argmax(offers))
            new = float(offers[found]) - float(table.charges[others].sum())
            if others and worth(others) >= new:
                found, new = -1, worth(others)
            if new > value + SLACK:
                chosen = others + ([found] if found >= 0 else [])
                value, better = new, True
                break
    return np.array(sorted(set(chosen)), dtype=np.intp)


def _worth(table: Table, prices: Array) -> Array:
    """The gains of every column above the prices, less its charge."""
    out = np.empty(table.gains.shape[1])
    for first in range(0, len(out), PIECE):
        piece = table.gains[:, first : first + PIECE] - prices[:, None]
        out[first : first + PIECE] = np.maximum(piece, 0.0, out=piece).sum(0)
    return np.asarray(out - table.charges)


def _priced(table: Table, prices: Array) -> Priced:
    """The bound at these prices, and at the best toll on what columns cost."""
    worth = _worth(table, prices)
    top = _most_worth(worth, table.most)
    if np.isfinite(table.budget) and table.costs[top].sum() > table.budget:
        found = _within_budget(worth, table, top)
    else:
        found = _answer(worth, table.most, {1.0: top})
    return replace(found, bound=found.bound + float(prices.sum()))


def _most_worth(worth: Array, most: int) -> Places:
    """The columns of most worth, none that is worth nothing."""
    top = np.argpartition(-worth, most - 1)[:most] if len(worth) > most else np.arange(len(worth))
    return top[worth[top] > 0]


def _answer(worth: Array, most: int, parts: dict[float, Places]) -> Priced:
    """The bound without the prices; `parts` are the columns taken, by share."""
    top = _most_worth(worth, most)
    last = float(worth[top].min()) if len(top) == most else 0.0
    taken = np.zeros(len(worth))
    for share, columns in parts.items():
        taken[columns] += share
    return Priced(float(worth[top].sum()), worth - last, taken)


def _within_budget(worth: Array, table: Table, much: Places) -> Priced:
    """With a toll on the cost of columns, such that the budget is just spent.

    Any toll gives a bound. The best lies between one at which too much is taken and one at which
    too little is, and is found by halving.
    """
    places = np.flatnonzero(worth > 0)
    some, costs = worth[places], table.costs[places]
    much, little = np.searchsorted(places, np.sort(much)), np.empty(0, dtype=np.intp)
    paid = costs > 0
    low, high = 0.0, float((some[paid] / costs[paid]).max())  # then nothing is worth its cost
    best, lowest = 0.0, np.inf
    for _ in range(HALVINGS):
        toll = (low + high) / 2
        left = some - toll * costs
        top = _most_worth(left, table.most)
        bound = float(left[top].sum()) + toll * table.budget
        if bound < lowest:
            best, lowest = toll, bound
        if costs[top].sum() > table.budget:
            low, much = toll, top
        else:
            high, little = toll, top
    over, under = float(costs[much].sum()), float(costs[little].sum())
    share = (table.budget - under) / (over - under)
    parts = {share: places[much], 1 - share: places[little]}
    found = _answer(worth - best * table.costs, table.most, parts)
    return replace(found, bound=found.bound + best * table.budget)


def _descend(table: Table, prices: Array, value: float) -> Array:
    """Prices with a lower bound: subgradient steps of Polyak's length, the best ones kept."""
    best, low, share, idle = prices, np.inf, 1.0, 0
    for _ in range(STEPS):
        found = _priced(table, prices)
        if found.bound < low - 1e-7:
            best, low, idle = prices, found.bound, 0
        else:
            idle += 1
        if idle >= 8:
            share, idle, prices = share / 2, 0, best
            found = _priced(table, prices)
        use = np.flatnonzero(found.taken)
        slope = 1.0 - (table.gains[:, use] > prices[:, None]) @ found.taken[use]
        length = float(slope @ slope)
        if length == 0.0 or found.bound - value < SLACK:
            break
        prices = prices - share * (found.bound - value) / length * slope
    return best
