"""Rows of published parts: how many of each a quick run takes, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polytask.errors import UserError


def take(name: str, rows: int | None, sizes: Mapping[str, int]) -> dict[str, int]:
    """How many rows of each part make `rows` together, in the parts' proportions, at least one.

    All of them when `rows` is None. Raises `UserError` for more rows than there are, or fewer
    than parts.
    """
    total = sum(sizes.values())
    if rows is None:
        return dict(sizes)
    if isinstance(rows, bool) or not isinstance(rows, int) or not len(sizes) <= rows <= total:
        raise UserError(
            f"{name}: rows is {rows!r}; expected a whole number from {len(sizes)} (one for each "
            f"of {', '.join(sizes)}) to {total}, or none for all."
        )
    taken = {part: max(1, rows * size // total) for part, size in sizes.items()}
    largest = max(sizes, key=lambda part: sizes[part])
    taken[largest] += rows - sum(taken.values())
    return taken


def places(taken: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Row numbers of parts that lie one behind the other, as a fixed split."""
    ends = np.cumsum([0, *taken.values()])
    return {
        part: np.arange(start, end, dtype=np.int64)
        for part, start, end in zip(taken, ends[:-1], ends[1:], strict=True)
    }
