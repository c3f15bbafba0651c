"""Recording, while a network trains, how far the gradients of its tasks agree or fight."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError, unknown
from polytask.files import write_text
from polytask.kernel.cross import Cross, cross_gramian
from polytask.kernel.measure import Discovery
from polytask.training._rows import count_rows, cut_rows, rows_drawn_from
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

FILE = "conflict.json"
STATISTICS = ("tail", "exact")
FEWEST_ROWS = 4
WITHOUT_LENGTH = 20
"""Batches from one recording to the next where nobody knows how many there will be."""
DEPTH, BUDGET = 2, 0.2  # as a balancer reads the tail by default
DIGITS = 6


class ConflictRecorder(Callback):
    """Measures, at some steps, the tasks' gradients on two halves of the batch.

    The running batch is cut into two random halves before it is trained on, and the gradients of
    each task on one half are multiplied by those on the other: `polytask.relationships.estimate`
    makes cosines with errors of such records, one a seed. Gradients are those of training:
    dropout is on, and batch normalisation sees half a batch.

    The training itself stays the same bit for bit: parameters, gradients, buffers and random
    numbers are as they would be without it. What cannot be measured (fewer than 4 rows, nothing
    shared, a half without labels, a model that refuses a smaller batch) is passed over and
    counted in the record with its cause; it never ends a training.

    Cost, at the recorded steps: two forward passes on half a batch, and the statistic twice; no
    more memory than a step and, with 'exact', two gradients a task. In the trainer's `out`, if
    there is one, the record is `conflict.json`.

    Args:
        every: batches from one recording to the next. By default `samples` recordings are spread
            evenly over the training (and every 20th batch is recorded where the batches have
            no length).
        samples: how many, then; fewer in a shorter training.
        statistic: 'tail' (the last shared layers, as balancers read them) or 'exact' (all that is
            shared).

    Raises:
        UserError: an argument that cannot be.
    """

    def __init__(
        self, every: int | None = None, samples: int = 60, statistic: str = "tail"
    ) -> None:
        for word, value in (("every", 1 if every is None else every), ("samples", samples)):
            if not isinstance(value, int) or value < 1:
                raise UserError(f"{word} must be a whole number above 0, found {value!r}.")
        if statistic not in STATISTICS:
            raise unknown("statistic of the conflict", statistic, STATISTICS)
        self.every = every
        self.samples = samples
        self.statistic = statistic
        self._resumed = False
        self._batches: int | None = None
        self._rows: int | None = None
        self._start(())

    def _start(self, tasks: tuple[str, ...]) -> None:
        """Forget what was recorded."""
        self._tasks = tasks
        self._discovery = Discovery()
        self._seen = 0
        self._source = ""
        self._products: list[list[float | None]] = []
        self._norms: list[list[float | None]] = []
        self._skipped: dict[str, int] = {}

    def record(self) -> dict[str, Any]:
        """What was recorded, as JSON: the input of `polytask.relationships.estimate`.

        "products" has a row for each recorded step: the upper triangle of G_ij / (n_i n_j), row
        by row with the diagonal, see `polytask.kernel.cross`; "norms" the n_i. None stands where
        a task was not measured. "skipped" counts the steps that gave nothing, by cause.
        """
        return {
            "tasks": list(self._tasks),
            "statistic": self.statistic,
            "source": self._source,
            "products": [list(row) for row in self._products],
            "norms": [list(row) for row in self._norms],
            "skipped": dict(self._skipped),
        }

    def state_dict(self) -> dict[str, Any]:
        """The record so far and the number of batches seen."""
        return {**self.record(), "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved record."""
        self._start(tuple(state["tasks"]))
        self._seen, self._source = int(state["seen"]), state["source"]
        self._products = [list(row) for row in state["products"]]
        self._norms = [list(row) for row in state["norms"]]
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
        with _unshaken():
            try:
                found = self._measure(trainer, *trainer.batch)
            except UserError as error:
                self._skip(str(error))
                return
            except Exception as error:
                # Whatever a model makes of half a batch, a record is not worth a training.
                self._skip(f"{type(error).__name__}: {error}")
                return
        if found is None or not self._keep(found, self._fraction(trainer.batch[1])):
            self._skip("no two tasks had labels, and a gradient, in both halves of the batch")

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """Write the record so far: whoever takes a finished training from its folder has it."""
        self._write(trainer)

    def _due(self, seen: int, epochs: int) -> bool:
        """Whether the batch is one to record; batches count from 0 through all epochs."""
        if self.every is not None or self._batches is None:
            return seen % (self.every or WITHOUT_LENGTH) == 0
        total = self._batches * epochs
        wanted = min(self.samples, total)
        # The middles of equal stretches.
        return seen == (2 * (seen * wanted // total) + 1) * total // (2 * wanted)

    def _measure(
        self, trainer: Trainer, inputs: Any, targets: Mapping[str, Tensor]
    ) -> Cross | None:
        rows = count_rows(targets)
        if rows < FEWEST_ROWS:
            raise UserError(f"a batch had fewer than {FEWEST_ROWS} rows")
        # A stream of its own for every batch, so that a resumed training draws the same halves.
        draw = np.random.default_rng([trainer.settings.seed, self._seen, rows])
        order = torch.from_numpy(draw.permutation(rows)).to(trainer.device)

        def losses(half: Tensor) -> dict[str, Tensor]:
            outputs, _ = trainer.forward(cut_rows(inputs, half, rows))
            return trainer.forward.losses(outputs, cut_rows(targets, half, rows)).values

        scaler = trainer.precision.scaler
        return cross_gramian(
            lambda: losses(order[: rows // 2]),
            lambda: losses(order[rows // 2 :]),
            self.statistic,
            discovery=self._discovery,
            parameters=list(trainer.model.parameters()),
            depth=DEPTH,
            budget=BUDGET,
            turn=len(self._products) + sum(self._skipped.values()),
            loss_scale=1.0 if scaler is None else float(scaler.get_scale()),
            module=trainer.model,
        )

    def _fraction(self, targets: Mapping[str, Tensor]) -> float:
        """The share of all rows that the batch holds; 0 where their number is not known."""
        if self._rows is not None:
            return min(1.0, count_rows(targets) / self._rows)
        return 1 / self._batches if self._batches else 0.0

    def _keep(self, found: Cross, fraction: float) -> bool:
        """Add a step to the record; False when fewer than two tasks were measured."""
        place = {task: i for i, task in enumerate(found.tasks)}
        table, norms = found.scaled(fraction), found.norms()
        if int(table.diagonal().isfinite().sum()) < 2:
            return False
        at = [place.get(task) for task in self._tasks]
        self._products.append(
            [
                None if one is None or other is None else _short(table[one, other])
                for i, one in enumerate(at)
                for other in at[i:]
            ]
        )
        self._norms.append([None if one is None else _short(norms[one]) for one in at])
        self._source = found.source
        return True

    def _skip(self, cause: str) -> None:
        self._skipped[cause] = self._skipped.get(cause, 0) + 1

    def _write(self, trainer: Trainer) -> None:
        if trainer.folder is not None:
            write_text(trainer.folder.path / FILE, json.dumps(self.record()) + "\n")


def _short(value: Tensor) -> float | None:
    """A number with six digits; None for none."""
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


@contextmanager
def _unshaken() -> Iterator[None]:
    """The random numbers of Python and NumPy, which a model may draw too, as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
