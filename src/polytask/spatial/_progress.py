"""What a training of the GAN shows: a bar in a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from polytask import verbosity

log = logging.getLogger("polytask.spatial")

Tell = Callable[[int, Mapping[str, float]], None]
"""Called after every epoch with its number and mean losses."""


@contextmanager
def epochs_shown(wanted: bool, epochs: int) -> Iterator[Tell]:
    """Inside, what is told goes to a bar of so many epochs on stderr, or to the log."""
    if not verbosity.draws_bars(wanted):
        yield lambda epoch, losses: log.info("epoch %d  %s", epoch, _words(losses))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[value]}"),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("training", total=epochs, value="")

        def tell(epoch: int, losses: Mapping[str, float]) -> None:
            bar.update(task, advance=1, description=f"epoch {epoch}", value=_words(losses))

        yield tell


def _words(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
