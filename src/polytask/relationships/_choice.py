"""Groups chosen from a table of gains: what is feasible, what counts as a tie, the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask.errors import UserError, count
from polytask.relationships._columns import Array, Places, Table
from polytask.relationships._selection import LAST, affordable, exchange, select

Members = NDArray[np.bool_]

TIE = 1e-7
"""What a further group must add to the sum, in units of the spread of all gains."""
ROUNDING = 1e-9
"""A budget that is the sum of some costs is kept by them, whatever the order of adding."""


@dataclass(frozen=True)
class Choice:
    """Columns of a table, and how far the best answer may lie above their sum of gains."""

    columns: list[int]
    gap: float


def whole_number(given: object, what: str) -> int:
    """A whole number of at least 1. Raises `UserError` for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 1:
        raise UserError(f"{what}: expected a whole number of at least 1, found {given!r}.")
    return int(given)


def real_number(given: object, what: str, least: float = -math.inf) -> float:
    """A finite number of at least `least`. Raises `UserError` for anything else."""
    try:
        value = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or value < least:
        limit = "" if least == -math.inf else f" of at least {least:g}"
        raise UserError(f"{what}: expected a finite number{limit}, found {given!r}.")
    return value


def choose(
    tasks: Sequence[str],
    gains: Array,
    members: Members,
    costs: Array,
    most: int | None,
    budget: float | None,
    looked_at: str = "known",
    last: int = LAST,
) -> Choice:
    """The columns whose best gains have the largest sum over tasks.

    Of answers that differ by less than 1e-7 of the spread of gains for each group more, the one
    with fewer groups is taken, then the one with fewer members.

    Args:
        tasks: T names, for messages.
        gains: [T, n], -inf where a column does not serve a task. Overwritten.
        members: [n, T].
        costs: [n], not negative.
        most: columns at most; None for no limit.
        budget: total cost at most; None for no limit.
        looked_at: what the columns are, for messages: all that are known, or those tried.
        last: columns that the last step of the search gets at most; 0 leaves it out.

    Raises:
        UserError: a task without a column, or limits that no answer keeps.
    """
    served = np.isfinite(gains)
    lost = [name for name, row in zip(tasks, served, strict=True) if not row.any()]
    if lost:
        raise UserError(
            f"no group serves {lost[0]!r}: expected at least one known value for each task. "
            "Measure it with another task, or alone."
        )
    limit = min(most or len(tasks), len(tasks))  # each group serves a task: more are of no use
    room = math.inf if budget is None else budget + ROUNDING * max(budget, float(costs.max()))
    start = _feasible(served, costs, most, limit, room, looked_at, budget, last)
    low = min(float(row[mask].min()) for row, mask in zip(gains, served, strict=True))
    spread = float(gains.max()) - low or 1.0
    gains -= low
    gains /= spread
    charges = TIE * (1.0 + members.sum(1) / (len(tasks) + 1.0))
    table = Table(gains, charges, costs, limit, room)
    if budget is not None and costs.min() == costs.max() > 0:
        # A limit on the number, no more.
        most = min(limit, int(room / costs[0]))
        table = replace(table, most=max(most, len(start)), budget=math.inf)
    elif budget is not None and last:
        # Parts of groups are cheaper than groups: the bound needs to know how many are possible.
        table = replace(table, most=max(min(limit, affordable(table, start)), len(start)))
    chosen, bound = select(table, start, last)
    value = table.value(chosen)
    # What HiGHS proves is exact to about a billionth.
    gap = bound - value if bound - value > TIE else 0.0
    return Choice([int(column) for column in chosen], gap * spread)


def _feasible(
    served: Members,
    costs: Array,
    most: int | None,
    limit: int,
    room: float,
    looked_at: str,
    budget: float | None,
    last: int,
) -> Places:
    """Some columns that serve every task within the limits."""
    every = np.flatnonzero(served.all(0))
    sure = "feasible" if last or len(every) else "found"  # one group for all is the cheapest
    if len(every):
        start = every[np.argmin(costs[every])][None]
    else:
        start = _cover(served, limit)
        if start is None:
            start = _least(served, np.ones(len(costs)), len(served), None, last)
        if len(start) > limit:
            raise UserError(
                f"max_groups: no {count(limit, 'group')} of those {looked_at} can serve all tasks, "
                f"the smallest {sure} number is {len(start)}; found max_groups={most}."
            )
    if costs[start].sum() <= room:
        return start
    start = _least(served, costs, limit, start, last)
    least = float(costs[start].sum())
    if least > room:
        raise UserError(
            f"budget: no groups of those {looked_at} serve all tasks for {budget:g}; the smallest "
            f"{sure} budget is {least:.12g}."
        )
    return start


def _cover(served: Members, limit: int) -> Places | None:
    """A few columns that serve every task, found by exchanges; None where that finds too many."""
    nothing = np.zeros(served.shape[1])
    table = Table(np.where(served, 0.0, -np.inf), nothing, nothing, limit, math.inf)
    found = exchange(table, np.empty(0, dtype=np.intp))
    return found if served[:, found].any(1).all() else None


def _least(served: Members, costs: Array, limit: int, start: Places | None, last: int) -> Places:
    """The cheapest columns that serve every task; with `last` of 0, cheap ones."""
    unit = float(costs.max()) or 1.0
    gains = np.where(served, 0.0, -np.inf)
    # Costs that are all alike count columns: what is better by less than one is not better.
    step = 1.0 if costs.min() == costs.max() > 0 else 0.0
    table = Table(gains, costs / unit, costs, limit, math.inf, step)
    if start is None:
        start = _cover(served, limit)
    assert start is not None, "one column a task serves them all"
    return select(table, start, last)[0]
