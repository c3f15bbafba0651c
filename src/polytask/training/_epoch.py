"""One pass over the training batches, from its beginning or from where a saved state left it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError
from polytask.training._forward import Batch, batches_on
from polytask.training._loop import Totals
from polytask.training._random import random_state, set_random_state

if TYPE_CHECKING:
    from polytask.training._fit import Fit


class Epoch:
    """The running epoch of a fit. `saved` is the state that it goes on from, if any."""

    def __init__(self, fit: Fit, saved: dict[str, Any] | None) -> None:
        self.fit = fit
        self.totals = Totals()
        self._saved = saved
        self._seconds = 0.0
        self._skipped = fit.state.skipped
        device = fit.trainer.device
        self._begun: dict[str, Any] = {}
        if saved is not None:
            running = saved["running"]
            self.totals.load_state_dict(running["totals"], device)
            self._begun = running["random"]
            self._seconds, self._skipped = running["seconds"], running["skipped"]
        self._since = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time spent on the epoch so far, in all the processes that worked on it."""
        return self._seconds + time.perf_counter() - self._since

    def train(self) -> None:
        """Take the optimizer's steps. Raises `UserError` when every batch was left out."""
        fit, state, trainer = self.fit, self.fit.state, self.fit.trainer
        trainer.model.train()
        for inputs, targets in self._asked_for(self._batches()):
            trainer.batch = (inputs, targets)
            fit.callbacks.tell("on_batch_begin", trainer, state.batch)
            fit.stepper.leave_out(trainer.paused)
            losses, values, step = fit.stepper.backward(inputs, targets, state)
            if not losses.values:
                state.skipped += 1
            elif step is not None:
                self.totals.add(values, losses.counts, step, fit.stepper.paused)
                fit.callbacks.tell("on_grad_computed", trainer, step)
            if (state.batch + 1) % fit.settings.accumulate == 0:
                fit.stepper.update(state)
            fit.callbacks.tell("on_batch_end", trainer, state.batch, values)
            state.batch += 1
            if fit.stepper.settled:
                fit.save_if_due(self.state_dict)
        fit.stepper.waiting.clear()  # an incomplete group of batches is not stepped on
        fit.stepper.update(state)
        if state.skipped - self._skipped == state.batch:
            trained = [name for name in trainer.tasks if name not in trainer.paused]
            wanted, method = fit.stepper.required, type(trainer.balancer).__name__
            raise UserError(
                f"no batch of epoch {state.epoch} has a label of "
                + (f"{wanted}, the main task of {method}" if wanted else "any task")
                + f" ({', '.join(trained)}); {state.batch} batches were seen. "
                "Check the training data and the names of its targets."
            )

    def state_dict(self) -> dict[str, Any]:
        """What a state in the middle of the epoch holds of it."""
        return {
            "totals": self.totals.state_dict(),
            "seconds": self.seconds,
            "skipped": self._skipped,
            "random": self._begun,
        }

    def _asked_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, each announced before it is drawn."""
        fit = self.fit
        while True:
            fit.callbacks.tell("on_batch_wanted", fit.trainer, fit.state.batch)
            batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _batches(self) -> Iterator[Batch]:
        """The batches that are still to come, the random numbers being as they were."""
        train, device, saved = self.fit.train, self.fit.trainer.device, self._saved
        if hasattr(train, "set_epoch"):
            train.set_epoch(self.fit.state.epoch)
        if saved is None:
            if self.fit.saver is not None:
                self._begun = random_state(device, train)
            return batches_on(train, device)
        if saved["batches"] is not None:
            train.load_state_dict(saved["batches"])
            rest = iter(train)
        else:
            # A loader shuffles by random numbers: it begins as it did and its first batches go.
            set_random_state(self._begun, device, train)
            rest = iter(train)
            deque(islice(rest, self.fit.state.batch), maxlen=0)
        set_random_state(saved["random"], device, train)
        return batches_on(rest, device)
