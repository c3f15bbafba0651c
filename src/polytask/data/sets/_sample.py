"""A seeded sample of the rows of a large set."""

from __future__ import annotations

import numpy as np

from polytask.errors import UserError


def sample(total: int, rows: int | None, seed: int, name: str) -> np.ndarray:
    """Row numbers int64 [rows] in the order in which a seed draws them; all when `rows` is None.

    The first rows of a draw are the same whatever their number, so a larger sample holds a
    smaller one.

    Raises:
        UserError: `rows` or `seed` is not a whole number in its range.
    """
    _whole(seed, 0, None, "seed", name)
    if rows is None:
        rows = total
    _whole(rows, 1, total, "rows", name)
    return np.random.default_rng(seed).permutation(total)[:rows]


def _whole(value: int, low: int, high: int | None, word: str, name: str) -> None:
    """Raise `UserError` unless `value` is a whole number of at least `low`, at most `high`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise UserError(f"{word} of {name}: expected a whole number {limits}, found {value!r}.")
