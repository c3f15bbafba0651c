"""Prices on serving tasks: what they bound, and how good ones are found.

At any prices, what a column is worth is its gains above them, less its charge. No answer is worth
more than the sum of all prices and of the few columns of most worth; a budget puts a toll on what
columns cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polytask.relationships._columns import Array, Places, Table

PIECE = 1 << 14
"""Columns priced at once, so that their entries stay in the processor's cache."""
HALVINGS = 20
STEPS = 150
SLACK = 1e-9


@dataclass(frozen=True)
class Priced:
    """What prices of the tasks tell about a table."""

    bound: float
    """No answer is worth more."""
    reduced: Array
    """[n]: how far an answer that must hold the column falls below the bound, negated."""
    taken: Array
    """[n]: the share of every column in the relaxed answer at these prices."""


def _worth(table: Table, prices: Array) -> Array:
    """The gains of every column above the prices, less its charge."""
    out = np.empty(table.gains.shape[1])
    for first in range(0, len(out), PIECE):
        piece = table.gains[:, first : first + PIECE] - prices[:, None]
        out[first : first + PIECE] = np.maximum(piece, 0.0, out=piece).sum(0)
    return np.asarray(out - table.charges)


def priced(table: Table, prices: Array) -> Priced:
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


def descend(table: Table, prices: Array, value: float) -> Array:
    """Prices with a lower bound: subgradient steps of Polyak's length, the best ones kept."""
    best, low, share, idle = prices, np.inf, 1.0, 0
    for _ in range(STEPS):
        found = priced(table, prices)
        if found.bound < low - 1e-7:
            best, low, idle = prices, found.bound, 0
        else:
            idle += 1
        if idle >= 8:
            share, idle, prices = share / 2, 0, best
            found = priced(table, prices)
        use = np.flatnonzero(found.taken)
        slope = 1.0 - (table.gains[:, use] > prices[:, None]) @ found.taken[use]
        length = float(slope @ slope)
        if length == 0.0 or found.bound - value < SLACK:
            break
        prices = prices - share * (found.bound - value) / length * slope
    return best
