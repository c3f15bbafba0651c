"""Checks of constructor arguments, with one wording for all architectures and encoders."""

from __future__ import annotations

from collections.abc import Iterable

from polytask.errors import UserError


def positive_ints(what: str, value: Iterable[int], *, may_be_empty: bool) -> tuple[int, ...]:
    """`value` as a tuple of whole numbers above 0; raises `UserError` that quotes it otherwise."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        numbers = tuple(value)
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers)
        if whole and (numbers or may_be_empty):
            return numbers
    least = "" if may_be_empty else ", at least one"
    raise UserError(
        f"{what} must be a list of whole numbers above 0{least}, such as (128, 64). "
        f"Found {value!r}."
    )
