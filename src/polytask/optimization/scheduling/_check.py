"""Checks of a schedule's arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from polytask.errors import UserError


def number(
    word: str, value: Any, least: float, *, above: bool = False, most: float = math.inf
) -> float:
    """A finite number of at least `least` (or above it). Raises `UserError` for anything else."""
    fits = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))
    if fits and least <= float(value) <= most and not (above and float(value) == least):
        return float(value)
    bounds = f"{'above' if above else 'of at least'} {least:g}"
    if most < math.inf:
        bounds += f" and at most {most:g}"
    raise UserError(f"{word} must be a number {bounds}, found {value!r}.")


def whole(word: str, value: Any, least: int) -> int:
    """A whole number of at least `least`. Raises `UserError` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise UserError(f"{word} must be a whole number of at least {least}, found {value!r}.")


def by_task(word: str, values: Any) -> dict[str, float]:
    """Numbers by task. Raises `UserError` for anything else, and for 0."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise UserError(f"{word} must be numbers by task, as in {{price: 3.2}}, found {values!r}.")
    for task, value in values.items():
        fits = isinstance(value, Real) and not isinstance(value, bool)
        if not fits or not math.isfinite(float(value)) or float(value) == 0:
            raise UserError(
                f"{word} of {task!r} must be a finite number other than 0, found {value!r}: scores "
                "are compared with it by their ratio."
            )
    return {str(task): float(value) for task, value in values.items()}
