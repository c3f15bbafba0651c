"""Options that several architectures have, checked with one wording."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.architectures._checks import positive_ints
from polytask.errors import UserError


def chosen_stages(given: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Stages by number from 1, in order; raises `UserError` for one that is not there, or twice."""
    if given is None:
        return tuple(range(1, count + 1))
    numbers = positive_ints("stages", given, may_be_empty=False)
    if max(numbers) > count or len(set(numbers)) < len(numbers):
        raise UserError(
            f"stages must be different stages of the encoder, from 1 to {count}, found {given!r}."
        )
    return tuple(sorted(numbers))


def share_kept(word: str, keep: float) -> float:
    """`keep` as a share; raises `UserError` unless it is between 0 and 1."""
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 <= keep <= 1:
        raise UserError(
            f"{word} must be a number from 0 to 1, found {keep!r}. At 1 every column starts with "
            "its own features alone."
        )
    return float(keep)


def number(word: str, value: float, *, zero: bool, hint: str) -> float:
    """`value`, finite and above 0, or from 0 up with `zero`; raises `UserError` otherwise."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not 0 <= value < float("inf") or (value == 0 and not zero):
        wanted = "from 0 up" if zero else "above 0"
        raise UserError(f"{word} must be a number {wanted}, found {value!r}; {hint}.")
    return float(value)


def rate(word: str, factor: float) -> float:
    """A factor of the learning rate; raises `UserError` unless it is a finite number above 0."""
    return number(word, factor, zero=False, hint="1 is no factor")
