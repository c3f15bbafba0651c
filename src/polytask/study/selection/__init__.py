"""Choosing helper tasks: which of them help one main task, how much, and how sure that is.

Importing this package costs nothing; `select_auxiliaries` is loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.study.selection.selection import select_auxiliaries

__all__ = ["select_auxiliaries"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from polytask.study.selection import selection

        return getattr(selection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
