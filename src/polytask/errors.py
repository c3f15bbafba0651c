"""Errors a user can act on, and the "did you mean" that goes with them.

Every message says what was expected, what was found and what to do. The command line
turns a `UserError` into two lines and exit code 2; anything else is ours (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PolytaskError(Exception):
    """Base of every error that polytask raises on purpose."""


class UserError(PolytaskError, ValueError):
    """The input is wrong (a name, a file, a setting): the caller can mend it. Exit code 2."""


class NonFiniteError(PolytaskError, FloatingPointError):
    """A loss or a gradient is NaN or infinite; the message names the task."""


class MissingExtraError(PolytaskError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it."""


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most like `name`, or None when nothing is close."""
    options = [str(option) for option in options]
    lowered = {option.lower(): option for option in options}
    found = difflib.get_close_matches(str(name).lower(), list(lowered), n=1, cutoff=0.5)
    return lowered[found[0]] if found else None


def unknown(kind: str, name: object, options: Iterable[str]) -> UserError:
    """The error for a name that does not exist: quotes it, suggests the nearest, lists the rest.

    >>> str(unknown("method", "pgrad", ["pcgrad", "linear"]))
    "unknown method 'pgrad'; did you mean 'pcgrad'? Known: linear, pcgrad."
    """
    options = sorted(str(option) for option in options)
    close = nearest(str(name), options)
    hint = f"; did you mean {close!r}?" if close else "."
    shown = ", ".join(options[:40]) + (", ..." if len(options) > 40 else "")
    return UserError(f"unknown {kind} {str(name)!r}{hint} Known: {shown or 'none'}.")


def need(module: str, extra: str, why: str) -> MissingExtraError:
    """The error for an optional dependency that is missing."""
    return MissingExtraError(
        f"{why} needs the package {module!r}, which is not installed. "
        f"Install it with: pip install 'polytask[{extra}]'"
    )
