"""The command line as it was given, for a report that says how to do the same again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_words: ContextVar[tuple[str, ...] | None] = ContextVar("words", default=None)


@contextmanager
def remembered(words: Sequence[str]) -> Iterator[None]:
    """Within the block, `command_line` tells these words."""
    token = _words.set(tuple(words))
    try:
        yield
    finally:
        _words.reset(token)


def command_line() -> str | None:
    """What a shell would have to be told, paths as they were; None outside a command."""
    words = _words.get()
    return None if words is None else shlex.join(["polytask", *words])
