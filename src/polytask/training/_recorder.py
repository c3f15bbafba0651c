"""What callbacks that measure tasks' gradients now and then have in common."""

from __future__ import annotations

import json
import math
import random
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.files import write_text
from polytask.kernel.shift import Closure
from polytask.training._rows import count_rows, cut_rows, rows_drawn_from
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

STATISTICS = ("tail", "exact")
DEPTH, BUDGET = 2, 0.2  # as a balancer reads the tail by default
FEWEST_ROWS = 4
WITHOUT_LENGTH = 20
"""Batches from one recording to the next where nobody knows how many there will be."""
DIGITS = 6


class Recorder(Callback):
    """Looks at some batches before they are trained on; the training stays the same bit for bit.

    A subclass measures a batch in `_measure` and keeps what was found in `_keep`. What cannot be
    measured is passed over and counted with its cause; it never ends a training. Args and errors:
    see `ConflictRecorder`.
    """

    file: ClassVar[str]
    """Its record's name in the trainer's `out`."""
    nothing: ClassVar[str]
    """Why `_keep` refuses what was measured."""

    def __init__(self, every: int | None, samples: int) -> None:
        for word, value in (("every", 1 if every is None else every), ("samples", samples)):
            if not isinstance(value, int) or value < 1:
                raise UserError(f"{word} must be a whole number above 0, found {value!r}.")
        self.every = every
        self.samples = samples
        self._resumed = False
        self._batches: int | None = None
        self._rows: int | None = None
        self._planned: int | None = None
        self._start(())

    def _start(self, tasks: tuple[str, ...]) -> None:
        """Forget what was recorded."""
        self._tasks = tasks
        self._seen = 0
        self._tried = 0
        self._seconds = 0.0
        self._skipped: dict[str, int] = {}

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What was recorded, as JSON."""

    @abstractmethod
    def _measure(self, trainer: Trainer, inputs: Any, targets: Mapping[str, Tensor]) -> Any:
        """Measure a batch; None when there is nothing to be measured."""

    @abstractmethod
    def _keep(self, found: Any, fraction: float) -> bool:
        """Add a measurement to the record, or refuse it; `fraction` is the batch's of all rows."""

    def state_dict(self) -> dict[str, Any]:
        """The record so far and where it stands."""
        return {**self.record(), "seen": self._seen, "tried": self._tried}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved record."""
        self._start(tuple(state["tasks"]))
        self._seen, self._tried = int(state["seen"]), int(state.get("tried", 0))
        self._skipped = dict(state["skipped"])
        self._resumed = True

    def on_train_begin(self, trainer: Trainer) -> None:
        """Work out which steps to record; a training that is not resumed starts anew."""
        if not self._resumed:
            self._start(tuple(trainer.tasks))
        self._resumed = False
        train = trainer._fit.train if trainer._fit is not None else None
        self._batches = len(train) if isinstance(train, Sized) else None
        self._rows = rows_drawn_from(train)
        if self._batches is not None:
            total = self._batches * trainer.settings.epochs
            self._planned = -(-total // self.every) if self.every else self._wanted(total)
        else:
            self._planned = None
        self._write(trainer)

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        """Measure, when it is time to, on rows that this pass has not been trained on."""
        due = self._due(self._seen, trainer.settings.epochs)
        self._seen += 1
        if not due or trainer.batch is None:
            return
        if len(self._tasks) < 2:
            self._skip("a single task has none to be compared with")
            return
        began = time.perf_counter()
        with unshaken():
            try:
                found = self._measure(trainer, *trainer.batch)
            except UserError as error:
                self._skip(str(error))
                return
            except Exception as error:
                # Whatever a model makes of half a batch, a record is not worth a training.
                self._skip(f"{type(error).__name__}: {error}")
                return
            finally:
                self._tried += 1
                self._seconds += time.perf_counter() - began
        if found is None or not self._keep(found, self._fraction(trainer.batch[1])):
            self._skip(self.nothing)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """Write the record so far: whoever takes a finished training from its folder has it."""
        self._write(trainer)

    def _wanted(self, total: int) -> int:
        """How many of `total` batches are to be recorded."""
        return min(self.samples, total)

    def _stride(self) -> int:
        """Batches from one recording to the next, where it is not the total that decides."""
        return self.every or WITHOUT_LENGTH

    def _due(self, seen: int, epochs: int) -> bool:
        """Whether the batch is one to record; batches count from 0 through all epochs."""
        if self.every is not None or self._batches is None:
            return seen % self._stride() == 0
        total = self._batches * epochs
        wanted = self._wanted(total)
        # The middles of equal stretches.
        return seen == (2 * (seen * wanted // total) + 1) * total // (2 * wanted)

    def _halves(
        self, trainer: Trainer, inputs: Any, targets: Mapping[str, Tensor]
    ) -> tuple[Closure, Closure]:
        """The losses of two random halves of the batch, computed when called."""
        rows = count_rows(targets)
        if rows < FEWEST_ROWS:
            raise UserError(f"a batch had fewer than {FEWEST_ROWS} rows")
        # A stream of its own for every batch, so that a resumed training draws the same halves.
        draw = np.random.default_rng([trainer.settings.seed, self._seen, rows])
        order = torch.from_numpy(draw.permutation(rows)).to(trainer.device)

        def losses(half: Tensor) -> dict[str, Tensor]:
            outputs, _ = trainer.forward(cut_rows(inputs, half, rows))
            return trainer.forward.losses(outputs, cut_rows(targets, half, rows)).values

        first, second = order[: rows // 2], order[rows // 2 :]
        return lambda: losses(first), lambda: losses(second)

    def _fraction(self, targets: Mapping[str, Tensor]) -> float:
        """The share of all rows that the batch holds; 0 where their number is not known."""
        if self._rows is not None:
            return min(1.0, count_rows(targets) / self._rows)
        return 1 / self._batches if self._batches else 0.0

    def _skip(self, cause: str) -> None:
        self._skipped[cause] = self._skipped.get(cause, 0) + 1

    def _write(self, trainer: Trainer) -> None:
        if trainer.folder is not None:
            write_text(trainer.folder.path / self.file, json.dumps(self.record()) + "\n")


def loss_scale(trainer: Trainer) -> float:
    """The factor on losses, against float16 underflow."""
    scaler = trainer.precision.scaler
    return 1.0 if scaler is None else float(scaler.get_scale())


def short(value: float | Tensor) -> float | None:
    """A number with six digits; None for none."""
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


@contextmanager
def unshaken() -> Iterator[None]:
    """The random numbers of Python and NumPy, which a model may draw too, as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
