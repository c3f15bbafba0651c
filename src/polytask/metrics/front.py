"""How good a set of trade-offs is: which of them count, how much they cover, how near they come.

All of it is for losses: smaller is better in every column. Turn scores of which more is better
round (`-accuracy`, `1 - accuracy`) before. numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask.errors import UserError

Array = NDArray[np.float64]


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other one beats: none is at most as large everywhere and smaller somewhere.

    Args:
        points: one trade-off a row, shape [n, T].

    Returns:
        Shape [n]. Equal points do not beat each other. Cost: n² T comparisons.

    Raises:
        UserError: no table of numbers.
    """
    return _kept(_table("points", points))


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """The volume that the points dominate and that is below the reference, exactly.

    It is the measure of all z with p <= z <= reference for some point p; a better set never has a
    smaller one (Zitzler & Thiele 1998, https://doi.org/10.1007/BFb0056872). Points that are not
    below the reference in every column add nothing.

    Two columns are one sweep. More are summed point by point, each with what the later ones do not
    cover, by the recursion of While, Bradstreet & Barone 2012 ("WFG",
    https://doi.org/10.1109/TEVC.2010.2077298).

    Args:
        points: one trade-off a row, shape [n, T].
        reference: the corner, shape [T]: what is as bad as can be. State it with the number.

    Returns:
        At least 0, in the product of the columns' units. Cost: n log n for two columns; for more
        it may grow like 2ⁿ, though dozens of points in up to five or six columns take
        moments.

    Raises:
        UserError: no table of numbers, or a reference of another length.
    """
    table, corner = _table("points", points), np.asarray(reference, dtype=float)
    if corner.shape != (table.shape[1],) or not np.isfinite(corner).all():
        raise UserError(
            f"reference must hold one finite number for each of the {table.shape[1]} columns of "
            f"points, found {corner.tolist()}."
        )
    inside = corner - table[(table < corner).all(axis=1)]  # edges of the boxes that are covered
    return float(_volume(inside[_kept(-inside)]))


def igd(points: ArrayLike, front: ArrayLike) -> float:
    """Inverted generational distance: how far the front is from the points, on average.

    The mean over the rows of `front`, points of the true or best known one, of the Euclidean
    distance to the nearest of `points` (Coello Coello & Reyes Sierra 2004,
    https://doi.org/10.1007/978-3-540-24694-7_71). 0 when all of it is covered. Columns of
    different units should be brought to one before.

    Args:
        points: what was found, one trade-off a row, shape [n, T].
        front: what should have been, shape [m, T].

    Raises:
        UserError: no tables of numbers, an empty one, or different numbers of columns.
    """
    found, wanted = _table("points", points), _table("front", front)
    if found.shape[1] != wanted.shape[1] or not len(found) or not len(wanted):
        raise UserError(
            "points and front must hold at least one row each and equally many columns, found "
            f"shapes {list(found.shape)} and {list(wanted.shape)}."
        )
    apart = np.linalg.norm(wanted[:, None, :] - found[None, :, :], axis=2)
    return float(apart.min(axis=1).mean())


def _table(name: str, values: ArrayLike) -> Array:
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] == 0 or not np.isfinite(table).all():
        raise UserError(
            f"{name} must be a table of finite numbers, one trade-off a row and one loss a "
            f"column; found shape {list(table.shape)}"
            + ("." if np.isfinite(table).all() else " with values that are not finite.")
        )
    return table


def _kept(table: Array) -> NDArray[np.bool_]:
    no_larger = (table[:, None, :] <= table[None, :, :]).all(axis=2)
    smaller = (table[:, None, :] < table[None, :, :]).any(axis=2)
    return np.asarray(~(no_larger & smaller).any(axis=0))


def _volume(boxes: Array) -> float:
    """The union of boxes from the origin with these edges, none within another, [n, T]."""
    boxes = boxes[np.argsort(-boxes[:, -1], kind="stable")]
    if boxes.shape[1] == 1:
        return float(boxes.max(initial=0.0))
    if boxes.shape[1] == 2:
        # The tallest first: each adds what it is wider than all before.
        widest = np.maximum.accumulate(np.concatenate([[0.0], boxes[:, 0]]))
        return float(np.diff(widest) @ boxes[:, 1])
    total = 0.0
    for i, box in enumerate(boxes):
        # The later ones are no taller, so that what they share with the box is as tall as they.
        shared = np.minimum(box, boxes[i + 1 :])
        total += float(box.prod()) - _volume(np.unique(shared[_kept(-shared)], axis=0))
    return total
