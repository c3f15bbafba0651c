"""Linear programs over the simplex by the dual simplex method (EPO's subproblem).

max cᵀw over w >= 0, sum w = 1, subject to A w >= b. The best vertex of the simplex alone meets the
conditions of optimality, so there is no search for a start: pivots only bring the constraints in,
one at a time, until all hold (Lemke 1954).
"""

from __future__ import annotations

import torch
from torch import Tensor

SLACK = 1e-12  # a violation below it, with rows of largest entry one, is rounding
PATIENCE = 4  # pivots a variable by the steepest rule, before the rule that cannot cycle


def best_on_simplex(objective: Tensor, rows: Tensor, bounds: Tensor) -> Tensor | None:
    """argmax of <objective, w> over the simplex subject to rows @ w >= bounds, a vertex.

    Args:
        objective: c, shape [T].
        rows: A, shape [m, T].
        bounds: b, shape [m]; -infinity leaves a row out.

    Returns:
        w >= 0 with sum 1, shape [T], float64; None when no w meets the constraints. Neither the
        objective's scale nor that of a row with its bound matters. Where several w are best, it is
        one of them. Cost: about T pivots of T (T + m) operations.
    """
    rows, bounds = rows.double(), bounds.double()
    kept = bounds.isfinite()
    rows, bounds = rows[kept], bounds[kept]
    size = torch.cat([rows, bounds[:, None]], dim=1).abs().amax(dim=1)
    size = torch.where(size > 0, size, 1.0)
    rows, bounds = rows / size[:, None], bounds / size
    c = objective.double()
    largest = c.abs().max()
    c = c / torch.where(largest > 0, largest, 1.0)
    w = _pivot(c, rows, bounds)
    if w is None:
        return None
    w = w.clamp_min(0)
    w = w / w.sum()
    return w if bool((rows @ w - bounds >= -1e3 * SLACK).all()) else None


def _pivot(c: Tensor, rows: Tensor, bounds: Tensor) -> Tensor | None:
    """Each basic variable is written by the others: value + coefficients times those at zero.

    Variables are numbered: T weights, then m slacks. The first row of the table is the
    objective, whose coefficients stay at most 0.
    """
    count, best = len(c), int(c.argmax())
    others = [j for j in range(count) if j != best]
    one = torch.cat([c[None], -torch.ones_like(c)[None], rows])
    table = torch.cat([one[:, best : best + 1], one[:, others] - one[:, best : best + 1]], dim=1)
    table[1] = -1.0  # the basic weight is one minus the others
    table[1, 0] = 1.0
    table[2:, 0] -= bounds
    basic = [best, *range(count, count + len(rows))]
    free = others
    patience = PATIENCE * (count + len(rows))
    for turn in range(4 * patience):
        value = table[1:, 0]
        low = (value < -SLACK).nonzero()[:, 0].tolist()
        if not low:
            w = torch.zeros_like(c)
            for row, variable in enumerate(basic):
                if variable < count:
                    w[variable] = value[row]
            return w
        bland = turn >= patience
        leaving = min(low, key=lambda i: basic[i]) if bland else int(value.argmin())
        entering = _entering(table[0, 1:], table[1 + leaving, 1:], free if bland else None)
        if entering is None:
            return None
        _exchange(table, 1 + leaving, 1 + entering)
        basic[leaving], free[entering] = free[entering], basic[leaving]
    return None


def _entering(slope: Tensor, row: Tensor, order: list[int] | None) -> int | None:
    """Which variable raises the row at the least cost; by least number among equals."""
    can = row > SLACK
    if not bool(can.any()):
        return None
    cost = torch.where(can, -slope / torch.where(can, row, 1.0), float("inf"))
    if order is None:
        return int(cost.argmin())
    ties = (cost <= cost.min() + SLACK).nonzero()[:, 0].tolist()
    return int(min(ties, key=lambda j: order[j]))


def _exchange(table: Tensor, row: int, column: int) -> None:
    """Solve the row for the column's variable and put it into all the others, in place."""
    pivot = table[row, column].clone()
    new = -table[row] / pivot
    new[column] = 1 / pivot
    factor = table[:, column].clone()
    table[:, column] = 0
    table += factor[:, None] * new
    table[row] = new
