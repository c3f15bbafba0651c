"""Numbers that stand for a missing value, as -999 does: noted, because nobody can be sure."""

from __future__ import annotations

import numpy as np

MARKS = tuple(
    float(sign * int(digit * length))
    for digit in "98"
    for length in (2, 3, 4, 5)
    for sign in (-1, 1)
)
"""-99, 99, -999, 999, ..., -88, 88, ..."""


def missing_mark(values: np.ndarray) -> str:
    """What to note of a column (float [N], NaN missing) that seems to mark missing values; or ''.

    The mark is the least or greatest value, is there at least twice, and lies farther from the
    next value than all others lie apart.
    """
    present = values[np.isfinite(values)]
    if len(present) < 4:
        return ""
    for mark in (present.min(), present.max()):
        if mark not in MARKS:
            continue
        others = present[present != mark]
        count = len(present) - len(others)
        span = np.ptp(others) if len(others) else 0.0
        if count > 1 and span > 0 and np.abs(others - mark).min() > span:
            return (
                f"{count} rows hold {mark:g}, far from all others; if it marks a missing value, "
                "leave those cells empty"
            )
    return ""
