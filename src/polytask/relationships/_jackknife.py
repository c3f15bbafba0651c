"""Standard errors of any statistic of rows: leave out one group of rows after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask.errors import UserError

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

GROUPS = 20
"""Groups that the rows are divided into, when there are so many."""


def row_groups(count: int, blocks: Sequence[object] | ArrayLike | None, seed: int) -> list[Rows]:
    """The rows 0 to `count` - 1 in up to 20 groups, drawn at random by blocks that stay whole.

    Args:
        count: how many rows there are.
        blocks: [count], the block of each row (the image that a place is of); None: rows are
            independent of one another.
        seed: of the draw.

    Raises:
        UserError: blocks of another number.
    """
    if blocks is None:
        places = np.arange(count)
    else:
        labels = np.asarray(blocks)
        if labels.shape != (count,):
            raise UserError(
                f"blocks: expected one label for each of {count} rows, found shape "
                f"{list(labels.shape)}."
            )
        places = np.unique(labels, return_inverse=True)[1]
    number = int(places.max()) + 1 if count else 0
    groups = min(GROUPS, number)
    group_of = np.empty(number, dtype=np.intp)
    group_of[np.random.default_rng(seed).permutation(number)] = np.arange(number) % max(groups, 1)
    return [np.flatnonzero(group_of[places] == group) for group in range(groups)]


def jackknife(
    statistic: Callable[[Rows], Array], whole: Array, groups: Sequence[Rows], count: int
) -> Array:
    """Standard errors of `whole`, which is `statistic` of all rows; NaN where undefined.

    The jackknife for groups of unequal size (Busing, Meijer and van der Leeden 1999,
    doi:10.1023/A:1008800423698). Unlike a bootstrap it repeats no row, which would be its own
    nearest neighbour. NaN everywhere with fewer than two groups.
    """
    if len(groups) < 2:
        return np.full_like(whole, np.nan)
    ratios = [count / len(group) for group in groups]
    every = np.arange(count)
    # Pseudo values less `whole`: what never changes has an error of exactly 0.
    shifts = [
        (h - 1) * (whole - statistic(np.setdiff1d(every, group)))
        for h, group in zip(ratios, groups, strict=True)
    ]
    middle = sum(s / h for s, h in zip(shifts, ratios, strict=True))
    spread = sum((s - middle) ** 2 / (h - 1) for s, h in zip(shifts, ratios, strict=True))
    return np.asarray(np.sqrt(spread / len(groups)), dtype=np.float64)
