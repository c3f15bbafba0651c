"""SIGTERM ends a command as Ctrl-C does: its processes end, what is finished is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from polytask.cli._errors import ENDED, INTERRUPTED


class Ended:
    """Whether SIGTERM came; its handler."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Do whatever Ctrl-C would do at this moment."""
        self.came = True
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)
        else:  # Ctrl-C is ignored, as a shell arranges for what it runs in the background
            raise KeyboardInterrupt

    def code(self, code: int) -> int:
        """The exit code of a command that would have ended with `code`."""
        return ENDED if self.came and code == INTERRUPTED else code


@contextmanager
def ended_like_interrupted() -> Iterator[Ended]:
    """Inside, SIGTERM does what Ctrl-C does. Only the main thread can arrange that."""
    ended = Ended()
    if threading.current_thread() is not threading.main_thread():
        yield ended
        return
    before = signal.signal(signal.SIGTERM, ended)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
