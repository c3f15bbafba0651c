"""What a training shows while it runs: a progress bar in a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any

from polytask import verbosity
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

log = logging.getLogger("polytask.training")


class LogLines(Callback):
    """One line per epoch to the standard library's logging, at level INFO."""

    def __enter__(self) -> LogLines:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        log.info("epoch %d/%d  %s", epoch, trainer.settings.epochs, describe(trainer))


class ProgressBar(Callback):
    """A rich bar on stderr with the expected end and the newest value of the selection rule."""

    def __init__(self, epochs: int, batches: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[value]}"),
            console=Console(stderr=True),
            transient=True,
        )
        # Without a known number of batches the bar moves by whole epochs.
        self._by_batch = batches is not None
        self._task = self._bar.add_task("training", total=epochs * (batches or 1), value="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        text = f"epoch {epoch}/{trainer.settings.epochs}"
        self._bar.update(self._task, description=text)

    def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict[str, float]) -> None:
        if self._by_batch:
            self._bar.advance(self._task)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        if not self._by_batch:
            self._bar.advance(self._task)
        self._bar.update(self._task, value=describe(trainer))


def make_progress(wanted: bool, epochs: int, batches: int | None) -> ProgressBar | LogLines:
    """A bar when it is wanted and stderr is a terminal, log lines otherwise."""
    if verbosity.draws_bars(wanted):
        return ProgressBar(epochs, batches)
    return LogLines()


def describe(trainer: Trainer) -> str:
    """The newest value by the rule in words, or the training losses without validation."""
    if trainer.selection is not None:
        word, value = trainer.selection
        return f"mean gain {value:+.1%}" if word == "mean_gain" else f"{word} {value:.4g}"
    record = trainer.history.epochs[-1]
    losses = [
        f"{key.split('/')[1]} {value:.4g}"
        for key, value in record.items()
        if key.startswith("train/") and isinstance(value, float)
    ]
    return "loss " + ", ".join(losses[:4])
