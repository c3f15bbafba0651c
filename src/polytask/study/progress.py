"""What a study shows while it runs: a bar with the expected end, or log lines."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from polytask import verbosity
from polytask.study.folder import Outcome
from polytask.study.plan import Unit

logger = logging.getLogger("polytask.study")


class Progress:
    """Counts ended runs; use it as a context manager.

    Args:
        total: runs when none fails, the ones that already ended included.
        done: runs that have ended before.
        bar: draw a bar on stderr when it is a terminal; log lines at level INFO otherwise.
    """

    def __init__(self, total: int, done: int, *, bar: bool) -> None:
        self.total = total
        self.done = done
        self._fresh = 0
        self._began = time.monotonic()
        self._bar: Any = None
        if verbosity.draws_bars(bar):
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[end]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=total, completed=done, end="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """What is being done now."""
        if self._bar is None:
            logger.info("%s", text)
        else:
            self._bar.update(self._task, description=text)

    def ended(self, unit: Unit, outcome: Outcome) -> None:
        """One more run has ended."""
        self.done += 1
        # A run that now succeeds may change what others are compared with: they run again.
        self.total = max(self.total, self.done)
        self._fresh += 1
        end = f"ends about {self.expected_end():%H:%M}"
        failed = " failed" if "error" in outcome else ""
        if self._bar is None:
            logger.info("run %d of %d: %s%s; %s", self.done, self.total, unit.id, failed, end)
        else:
            text = f"{unit.id}{failed}"
            self._bar.update(self._task, advance=1, description=text, end=end)

    def expected_end(self) -> datetime:
        """When the last run should end, by the pace since the start."""
        pace = (time.monotonic() - self._began) / max(1, self._fresh)
        return datetime.now() + timedelta(seconds=pace * max(0, self.total - self.done))
