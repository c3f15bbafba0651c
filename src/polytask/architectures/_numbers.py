"""Checks of single numbers among constructor arguments."""

from __future__ import annotations

import math
from numbers import Real

from polytask.architectures._checks import positive_ints
from polytask.errors import UserError


def counted(what: str, value: int, least: int = 1) -> int:
    """`value` as a whole number; raises `UserError` when it is none, or below `least` (0 or 1)."""
    if least == 0 and not isinstance(value, bool) and value == 0:
        return 0
    return positive_ints(what, (value,), may_be_empty=False)[0]


def within(
    what: str,
    value: float,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """`value` as a finite number in these bounds; raises `UserError` that names them otherwise."""
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if number and value >= least and above < value < below:
        return float(value)
    bounds = {"at least": least, "above": above, "below": below}
    said = " and ".join(
        f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound)
    )
    raise UserError(f"{what} must be a finite number {said}, found {value!r}.")
