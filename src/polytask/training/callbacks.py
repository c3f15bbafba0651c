"""Callbacks: code of the user's that runs at named moments of a training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError

if TYPE_CHECKING:
    from polytask.optimization.base import Step
    from polytask.training.trainer import Trainer


class Callback:
    """Override the moments you need; every method does nothing by default.

    Order: `on_train_begin`, then per epoch `on_epoch_begin`, per batch `on_batch_wanted`,
    `on_batch_begin`, `on_grad_computed`, `on_batch_end`, then `on_epoch_end`, and last
    `on_train_end`.
    Epochs count from 1, batches of an epoch from 0. Setting `trainer.should_stop = True` ends
    the training after the running epoch. After an exception no further moment is called.
    """

    def on_train_begin(self, trainer: Trainer) -> None:
        """Model, optimizer and run folder are ready; nothing has been trained."""

    def on_train_end(self, trainer: Trainer) -> None:
        """The chosen weights are loaded and written."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before the first batch of an epoch."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """After validation; `metrics` is the record that goes to `metrics.jsonl`."""

    def on_batch_wanted(self, trainer: Trainer, batch_index: int) -> None:
        """Before a batch is drawn; once more at the end of an epoch, when none is left.

        A task that is paused here is not drawn where each task has data of its own.
        """

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        """Before the forward pass of a batch, which is `trainer.batch`."""

    def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict[str, float]) -> None:
        """After a batch; `losses` of its present tasks, empty when no task had a label."""

    def on_grad_computed(self, trainer: Trainer, step: Step) -> None:
        """After the balancer's backward, before clipping and the optimizer step.

        `step` is what the balancer returned: losses, weights and the statistic it measured.
        """

    def changes(self) -> dict[str, Any]:
        """How it changes the training, as plain values; empty for one that only watches.

        A saved or finished training is taken up only by one whose callbacks change it alike.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What must survive a kill: plain values and tensors, saved with every checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved `state_dict`; called before `on_train_begin` of a resumed fit."""


class Callbacks:
    """Several callbacks called in the order given. Raises `UserError` for another type."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise UserError(
                    f"expected a Callback, found {type(callback).__name__}. "
                    "Derive it from polytask.training.Callback and pass an instance."
                )

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def tell(self, moment: str, *details: Any) -> None:
        """Call the method of this name on every callback."""
        for callback in self:
            getattr(callback, moment)(*details)

    def changes(self) -> dict[str, dict[str, Any]]:
        """How they change the training, by class and place among its like."""
        return {key: made for key, callback in self._named() if (made := callback.changes())}

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The states of those that have one, by class and place among its like."""
        return {key: state for key, c in self._named() if (state := c.state_dict())}

    def load_state_dict(self, states: dict[str, dict[str, Any]]) -> None:
        """Hand out saved states; callbacks may have been added or left out meanwhile."""
        for key, callback in self._named():
            if key in states:
                callback.load_state_dict(states[key])

    def _named(self) -> Iterator[tuple[str, Callback]]:
        count: dict[str, int] = {}
        for callback in self:
            name = type(callback).__qualname__
            count[name] = count.get(name, 0) + 1
            yield f"{name}#{count[name]}", callback
