"""Progress of package clients, which draw none for us: seen by what lies in their folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from polytask.data._cache import downloads
from polytask.data._clients import pinned

Watch = Callable[[str, Mapping[str, Any]], AbstractContextManager[None]]


@contextmanager
def bars() -> Iterator[Watch]:
    """Bars on stderr: the block gets `watch(name, carrier)`, around the fetch of one package."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=24),
        progress.DownloadColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as screen:

        @contextmanager
        def watch(name: str, carrier: Mapping[str, Any]) -> Iterator[None]:
            total = int(carrier["megabytes"] * 1e6)
            bar = screen.add_task(f"{name}: {pinned(carrier)}", total=total)
            done = threading.Event()

            def look() -> None:
                while not done.wait(0.2):
                    screen.update(bar, completed=min(size(downloads(carrier)), total))

            thread = threading.Thread(target=look, daemon=True)
            thread.start()
            try:
                yield
                screen.update(bar, completed=total)
            except BaseException:
                screen.update(bar, description=f"{name}: {pinned(carrier)} failed")
                raise
            finally:
                done.set()
                thread.join()
                screen.stop_task(bar)

        yield watch


def size(folder: Path) -> int:
    """The bytes in all files below a folder that others write to."""
    total = 0
    for place, _, names in os.walk(folder):  # passes over folders that have just gone
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total
