"""Ctrl-C that waits for the end of a step, so that the step can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupt:
    """A context in which the first Ctrl-C only sets `asked`; the second one interrupts at once.

    One that the block never looked at is raised when it ends. Does nothing outside the main
    thread, and where Ctrl-C has a handler of somebody else.
    """

    def __init__(self, wanted: bool) -> None:
        self.asked = False
        main = threading.current_thread() is threading.main_thread()
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self._active = wanted and main and usual

    def __enter__(self) -> Interrupt:
        if self._active:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if self._active:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.asked and kind is None:
            # Too late to stop the block, but whoever pressed it wants the program to stop too.
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
