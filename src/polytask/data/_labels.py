"""Labels and categories: plain values, their text, and finding them again in another file."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from polytask.errors import UserError


def label(value: Any) -> bool | int | float | str:
    """A class label as a plain Python value; whole floats become integers."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating | Decimal):
        number = float(value)
        return int(number) if number.is_integer() else number
    return str(value)


def label_text(value: Any) -> str:
    """A label or category as text; 12, 12.0 and '12' are one."""
    return str(label(value))


def constant(name: object, only: object) -> UserError:
    """The error for a target with one value."""
    return UserError(
        f"target {name!r} is constant: every label is {only!r}; there is nothing to learn. "
        "Choose another target, or check where the column comes from."
    )


def unlabelled(name: object, rows: int) -> UserError:
    """The error for a target without a label."""
    return UserError(
        f"target {name!r} has no labels: all {rows} values are missing. Choose another target, or "
        "check where the column comes from."
    )


def places(labels: Iterable[str]) -> dict[str, int]:
    """The code of every label, by its text and by how another file may bring it.

    A file reader takes "01" for text beside "A2" and for the number 1 alone; so 1 finds "01",
    unless "1" is a label too or several labels are that number.
    """
    exact = {text: code for code, text in enumerate(labels)}
    others: dict[str, list[int]] = {}
    for text, code in exact.items():
        if (read := _as_read(text)) is not None:
            others.setdefault(read, []).append(code)
    return {read: codes[0] for read, codes in others.items() if len(codes) == 1} | exact


def _as_read(text: str) -> str | None:
    """The label that a reader makes of `text` when its column holds nothing else."""
    if text.lower() in ("true", "false"):
        return text.capitalize()
    try:
        number = float(text)
    except ValueError:
        return None
    return label_text(number) if np.isfinite(number) else None
