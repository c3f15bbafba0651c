"""Errors a user can act on, and the "did you mean" that goes with them.

Every message says what was expected, what was found and what to do. The command line
turns a `UserError` into two lines and exit code 2; anything else is ours (exit code 1).
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator


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
    return UserError(f"unknown {kind} {str(name)!r}{hint} Known: {some(options) or 'none'}.")


def some(names: Iterable[object], width: int = 200) -> str:
    """Names in one line of about `width` letters: those that fit, then how many there are.

    >>> some(["a", "b"])
    'a, b'
    >>> some(range(1000), width=12)
    '0, 1, 2, 3, ... (1000 in all)'
    """
    texts = [str(name) for name in names]
    shown, used = 0, 0
    while shown < len(texts) and (used := used + len(texts[shown]) + 2) <= width + 2:
        shown += 1
    if shown == len(texts):
        return ", ".join(texts)
    # One name is always there, however long it is.
    kept = texts[:shown] or [texts[0][:width] + "..."]
    return ", ".join(kept) + f", ... ({len(texts)} in all)"


def count(number: int, noun: str) -> str:
    """A number of things, in words that agree.

    >>> count(1, "row"), count(2, "missing value")
    ('1 row', '2 missing values')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def need(module: str, extra: str, why: str) -> MissingExtraError:
    """The error for an optional dependency that is missing."""
    return MissingExtraError(
        f"{why} needs the package {module!r}, which is not installed. "
        f"Install it with: pip install 'polytask[{extra}]'"
    )


@contextlib.contextmanager
def foreign(explain: Callable[[str], str]) -> Iterator[None]:
    """Around code of the user's: what it raises becomes a `UserError` with `explain(what)`.

    Our own errors pass as they are, and so does memory that ran out, which is no fault of the
    code: a study records it as such.

    >>> with foreign(lambda what: f"the loss raised {what}; expected a number"):
    ...     1 / 0
    Traceback (most recent call last):
    ...
    polytask.errors.UserError: the loss raised ZeroDivisionError: division by zero; expected a ...
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PolytaskError) or out_of_memory(error):
            raise
        said = " ".join(str(error).split())[:160].rstrip(".")
        raise UserError(explain(f"{type(error).__name__}: {said}")) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, the CPU's as torch says it, or a device's."""
    # By name: this module must not import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
