"""Columns chosen by HiGHS: the mixed integer programme over those that are left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polytask.errors import need

if TYPE_CHECKING:
    from polytask.relationships._columns import Array, Places, Table

SCALE = 1e3
"""HiGHS stops at an absolute difference of 1e-6 and calls 1e-7 nothing: gains are enlarged."""
WORK = 5_000_000
"""Entries times nodes of its search at most: a limit in steps, so that answers do not depend on
the machine."""


def programme(table: Table, prices: Array, spare: Array) -> tuple[Places, float]:
    """The best columns of a table, and what HiGHS proved that no others exceed.

    A variable for each column (0 or 1) and one for each entry: that the column serves the task.
    An entry more than `spare` below its task's price is in no better answer and left out.

    Args:
        table: the columns; some within the limits must serve every task.
        prices: of the tasks, [T].
        spare: [n].

    Raises:
        MissingExtraError: scipy is not installed.
    """
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array
    except ImportError as error:
        raise need("scipy", "app", "choosing groups") from error
    tasks, width = table.gains.shape
    near = np.isfinite(table.gains) & (prices[:, None] - table.gains <= np.maximum(spare, 0.0))
    row, column = np.nonzero(near)
    size = len(row)
    entries = np.arange(size)
    ones = np.ones(size)

    def matrix(values: Array, rows: Places, columns: Places, height: int) -> coo_array:
        return coo_array((values, (rows, columns)), shape=(height, width + size))

    once = matrix(ones, row, width + entries, tasks)
    only_open = matrix(
        np.concatenate([ones, -ones]),
        np.concatenate([entries, entries]),
        np.concatenate([width + entries, column]),
        size,
    )
    zeros = np.zeros(width, dtype=np.intp)
    limits = [
        LinearConstraint(once.tocsr(), 1.0, 1.0),
        LinearConstraint(only_open.tocsr(), -np.inf, 0.0),
        LinearConstraint(matrix(np.ones(width), zeros, np.arange(width), 1).tocsr(), 0, table.most),
    ]
    if np.isfinite(table.budget):
        spent = matrix(table.costs, zeros, np.arange(width), 1).tocsr()
        limits.append(LinearConstraint(spent, -np.inf, table.budget))
    nodes = max(1, WORK // max(size, 1))
    found = milp(
        SCALE * np.concatenate([table.charges, -table.gains[row, column]]),
        integrality=np.concatenate([np.ones(width), np.zeros(size)]),
        bounds=Bounds(0.0, 1.0),
        constraints=limits,
        options={"mip_rel_gap": 0.0, "node_limit": nodes},
    )
    if found.status == 2:  # nothing is better than what the caller knows
        return np.empty(0, dtype=np.intp), -np.inf
    proved = found.mip_dual_bound
    bound = np.inf if proved is None else -float(proved) / SCALE
    if found.x is None:
        return np.empty(0, dtype=np.intp), bound
    return np.flatnonzero(found.x[:width] > 0.5), bound
