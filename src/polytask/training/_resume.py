"""The state of a running fit on disk: written now and then, taken up after a kill.

Everything that moves is in one file, `state.safetensors`: tensors as they are, all else as JSON
in the file's metadata. One rename puts it there, so tensors and numbers always belong together.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from polytask.data import Mixture
from polytask.errors import PolytaskError, UserError
from polytask.training import _identity
from polytask.training._loop import LoopState
from polytask.training._packing import pack, unpack
from polytask.training._random import random_state
from polytask.training._rules import Scores
from polytask.training._weights import load_with_texts, put, save_weights, snapshot

if TYPE_CHECKING:
    from polytask.training._fit import Fit

STATE = "state.safetensors"
SHARE = 0.05
"""Saving may take this share of the time: a model that takes long to write is saved less often."""

log = logging.getLogger("polytask.training")


class Saver:
    """Writes the state of a fit into its folder when it is time to.

    Args:
        folder: the run folder.
        every: seconds between two states; 0 writes one after every optimizer step.
    """

    def __init__(self, folder: Path, every: float) -> None:
        self.path = folder / STATE
        self.every = every
        self.identity: dict[str, Any] = {}
        self._due = time.monotonic() + every
        self._possible = True

    def due(self) -> bool:
        """Whether it is time for the next state."""
        return self._possible and time.monotonic() >= self._due

    def save(self, fit: Fit, running: dict[str, Any] | None) -> None:
        """Write where `fit` stands; `running` is what the running epoch has added up to.

        A part that no file can hold (a scheduler of the user's with objects in its state, say)
        is reported once, and the training goes on without saved states. Raises `UserError`
        when the disk refuses; the state before is then still there.
        """
        began = time.monotonic()
        tensors: dict[str, Tensor] = {}
        try:
            tree = pack(gather(fit, running), tensors)
        except UserError as error:
            self._possible = False
            log.warning("this training cannot be resumed after a kill: %s", error)
            return
        texts = {"identity": json.dumps(self.identity), "state": json.dumps(tree)}
        save_weights(self.path, tensors, texts)
        fit.keeper.protect(fit.selector.needed())
        now = time.monotonic()
        self._due = now + max(self.every, (now - began) / SHARE if self.every else 0.0)

    def read(self, identity: dict[str, Any]) -> dict[str, Any] | None:
        """The state of this very training, or None with the reason in the log.

        Raises `UserError` when the data alone have changed.
        """
        self.identity = identity
        if not self.path.exists():
            return None
        try:
            tensors, texts = load_with_texts(self.path)
            saved = json.loads(texts["identity"])
        except (PolytaskError, KeyError, ValueError) as error:
            log.warning("%s cannot be read (%s): starting anew", self.path, error)
            return None
        other = _identity.compare(saved, identity, self.path.parent)
        if other is not None:
            log.warning(
                "%s holds an unfinished training of other settings (%s): starting anew",
                self.path.parent,
                other,
            )
            return None
        state: dict[str, Any] = unpack(json.loads(texts["state"]), tensors)
        return state

    def forget(self) -> None:
        """The training has ended, or is begun anew."""
        self.path.unlink(missing_ok=True)


def gather(fit: Fit, running: dict[str, Any] | None) -> dict[str, Any]:
    """Everything that moves in a fit, as a tree of plain values and tensors."""
    trainer, stepper = fit.trainer, fit.stepper
    scaler = trainer.precision.scaler
    return {
        "model": snapshot(trainer.model),
        "optimizer": stepper.optimizer.state_dict(),
        "scheduler": stepper.scheduler.state_dict() if stepper.scheduler is not None else None,
        "scaler": scaler.state_dict() if scaler is not None else None,
        "balancer": trainer.balancer.state_dict(),
        "loop": fit.state.to_dict(),
        "epochs": fit.history.epochs,
        "stopped_early": fit.history.stopped_early,
        "should_stop": trainer.should_stop,
        "paused": trainer.pauses.state_dict(),
        # Not by `asdict`, which would take an undefined score apart.
        "scores": [dict(vars(scores)) for scores in fit.selector.epochs],
        "remarks": fit.selector.remarks,
        "held_out": fit.held_out.drawn if fit.held_out is not None else 0,
        "callbacks": fit.callbacks.state_dict(),
        "batches": _sampler(fit.train),
        "random": random_state(trainer.device, fit.train),
        "running": running,
    }


def restore(fit: Fit, state: dict[str, Any]) -> None:
    """Put a gathered state back, but for random numbers: the fit does that when it goes on."""
    trainer, stepper = fit.trainer, fit.stepper
    put(trainer.model, state["model"], "the saved state")
    stepper.optimizer.load_state_dict(state["optimizer"])
    if stepper.scheduler is not None:
        stepper.scheduler.load_state_dict(state["scheduler"])
    if trainer.precision.scaler is not None:
        trainer.precision.scaler.load_state_dict(state["scaler"])
    trainer.balancer.load_state_dict(state["balancer"])
    trainer.balancer.to(trainer.device)
    fit.state = LoopState(**state["loop"])
    fit.history.epochs = state["epochs"]
    fit.history.stopped_early = state["stopped_early"]
    trainer.should_stop = state["should_stop"]
    trainer.pauses.load_state_dict(state.get("paused", {}))
    if isinstance(fit.train, Mixture):
        # Its data sets go on from epoch to epoch, so it has a state between two as well.
        fit.train.load_state_dict(state["batches"])
    fit.selector.epochs = [Scores(**scores) for scores in state["scores"]]
    fit.selector.remarks = state["remarks"]
    fit.keeper.take_up()
    fit.keeper.protect(fit.selector.needed())
    if fit.held_out is not None:
        fit.held_out.skip(state["held_out"])
    fit.callbacks.load_state_dict(state["callbacks"])


def _sampler(batches: Any) -> Any:
    """The state of batches that have one."""
    return batches.state_dict() if hasattr(batches, "state_dict") else None
