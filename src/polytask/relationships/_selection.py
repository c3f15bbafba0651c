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

from dataclasses import replace

import numpy as np

from polytask.relationships._columns import Array, Places, Table
from polytask.relationships._prices import SLACK, Priced, descend, priced

WORKING = 8_000
"""Columns that a round of subgradient steps looks at."""
ROUNDS = 12
FALL = 0.02
"""Rounds end when the bound falls by less than this share of what it is above the answer."""
FIRST = 1_500
"""Columns that HiGHS gets at first; four times as many while others may still matter."""
BRIEF = 2
"""Rounds where nothing is to be proved, and HiGHS has no say."""
LAST = 6_000
"""Columns that HiGHS gets at most where a proof is wanted."""


def select(table: Table, start: Places, last: int = LAST) -> tuple[Places, float]:
    """The best columns and a bound that no answer exceeds; equal to their value when proved.

    Args:
        table: the columns.
        start: some columns that serve every task within the limits.
        last: columns that HiGHS gets at most; what is left out then shows in the bound. With 0 the
            answer is that of prices and exchanges, and takes a fixed number of steps.

    Cost: a few dozen passes over the table and one or more small mixed integer programmes.
    """
    if last == 0:
        _, seen, _, best = _narrow(table, start, BRIEF)
        return np.sort(best), max(seen.bound, table.value(best))
    from polytask.relationships._programme import programme

    live, seen, prices, best = _narrow(table, start)
    size = min(FIRST, last)
    while True:
        order = np.argsort(-seen.reduced, kind="stable")
        tried, left = order[:size], order[size:]
        below = np.minimum(seen.reduced, 0.0)
        room = seen.bound + below - table.wanted(best) + SLACK
        part = table.part(live[tried])
        chosen, bound = programme(part, prices, room[tried])
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


def _narrow(
    table: Table, start: Places, rounds: int = ROUNDS
) -> tuple[Places, Priced, Array, Places]:
    """The columns that a better answer may hold, what the best prices tell, and an answer."""
    live = np.arange(table.gains.shape[1])
    best = exchange(table, start) if len(live) <= WORKING else start
    prices = table.gains[:, best].max(1)  # what each task has now
    work: Places = np.empty(0, dtype=np.intp)
    low, seen = np.inf, priced(table, prices)
    for _ in range(rounds):
        inside = table.part(live)
        if len(live) <= WORKING:
            work = live
        else:
            top = live[np.argpartition(-seen.reduced, WORKING)[:WORKING]]
            work = np.unique(np.concatenate([work[np.isin(work, live)], top, best]))
        small = table.part(work)
        best = work[exchange(small, np.searchsorted(work, best))]
        prices = descend(small, prices, table.value(best))
        close = work[np.argsort(-priced(small, prices).reduced)[: table.most]]
        other = work[exchange(small, np.searchsorted(work, close))]
        if table.value(other) > table.value(best):
            best = other
        seen = priced(inside, prices)
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
