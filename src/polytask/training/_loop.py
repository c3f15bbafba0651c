"""The inside of a training: where it stands, what an epoch adds up to, and one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures import Architecture
from polytask.data import Parts
from polytask.errors import NonFiniteError, UserError
from polytask.kernel.shift import Closure
from polytask.metrics import Undefined
from polytask.optimization.base import Balancer, Step
from polytask.optimization.main_task._main import MainTask
from polytask.training._forward import Batch, Forward, Losses, values_of
from polytask.training._optim import Window
from polytask.training._precision import Precision
from polytask.training._scores import Mean

PAUSED = Undefined("the task was paused")


@dataclass
class LoopState:
    """Where a training stands. Model, optimizer, schedule and balancer keep their own state."""

    epoch: int = 0
    """The running epoch, counted from 1; 0 before the first."""
    batch: int = 0
    """Batches of the running epoch that are done, skipped ones included."""
    step: int = 0
    """Optimizer steps taken."""
    skipped: int = 0
    """Batches left out: without a label of any task, or of the one that the method requires."""

    def to_dict(self) -> dict[str, int]:
        """Plain values."""
        return asdict(self)

    def where_done(self) -> str:
        """What has been done, in words."""
        return f"epoch {self.epoch}, {self.batch} batches, {self.step} steps"

    def where(self) -> str:
        """The place of the running batch, in words."""
        return f"epoch {self.epoch}, step {self.step + 1}, batch index {self.batch}"


class Totals:
    """What one epoch adds up to: mean losses, labels seen, mean weights and pauses, by task."""

    def __init__(self) -> None:
        self._losses: dict[str, Mean] = {}
        self._weights: dict[str, Tensor] = {}
        self._weighed: dict[str, int] = {}
        self._batches = 0
        self._paused: dict[str, int] = {}

    def add(
        self,
        values: Mapping[str, float],
        counts: Mapping[str, int],
        step: Step,
        paused: Collection[str] = (),
    ) -> None:
        """Add one batch. A loss that is not finite (policy 'skip_task') is left out."""
        self._batches += 1
        for name in paused:
            self._paused[name] = self._paused.get(name, 0) + 1
        for name, value in values.items():
            if math.isfinite(value):
                self._losses.setdefault(name, Mean()).add(value, counts[name])
        for name, weight in step.weights.items():
            # Summed on the device: reading every weight would wait for it every step.
            self._weights[name] = self._weights.get(name, torch.zeros_like(weight)) + weight
            self._weighed[name] = self._weighed.get(name, 0) + 1

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, as plain values and tensors."""
        return {
            "losses": {name: (mean.total, mean.count) for name, mean in self._losses.items()},
            "weights": dict(self._weights),
            "weighed": dict(self._weighed),
            "batches": self._batches,
            "paused": dict(self._paused),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from saved sums."""
        self._losses = {name: Mean(*known) for name, known in state["losses"].items()}
        self._weights = {name: known.to(device) for name, known in state["weights"].items()}
        self._weighed = dict(state["weighed"])
        self._batches = state.get("batches", 0)
        self._paused = dict(state.get("paused", {}))

    def record(self, tasks: Mapping[str, Any]) -> dict[str, Any]:
        """The epoch's part of the history, for every task."""
        means = {name: self._losses.get(name, Mean()) for name in tasks}
        losses = {name: mean.result() for name, mean in means.items()}
        losses |= {name: PAUSED for name, n in self._paused.items() if n == self._batches}
        weights = {name: float(w) / self._weighed[name] for name, w in self._weights.items()}
        paused = {name: n / self._batches for name, n in self._paused.items()}
        return (
            {f"train/{name}/loss": loss for name, loss in losses.items()}
            | {f"examples/{name}": mean.count for name, mean in means.items()}
            | {f"weight/{name}": weights[name] for name in tasks if name in weights}
            | {f"paused/{name}": paused[name] for name in tasks if name in paused}
        )


class Stepper:
    """Turns batches into gradients and gradients into optimizer steps."""

    def __init__(
        self,
        forward: Forward,
        balancer: Balancer,
        optimizer: torch.optim.Optimizer,
        scheduler: Any | None,
        precision: Precision,
        clip_norm: float | None,
        held_out: Iterator[Batch] | None = None,
    ) -> None:
        self.forward = forward
        self.balancer = balancer
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.precision = precision
        self.clip_norm = clip_norm
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.window = Window(self.parameters)
        self.held_out = held_out
        self.waiting: list[dict[str, Tensor]] = []
        """Losses of the earlier batches of a step, for methods that read several."""
        self.first: Closure | None = None
        """Computes the losses of the first of them again."""
        self.paused: frozenset[str] = frozenset()
        """Tasks without a part in the running step."""
        self.rates: list[float] = []
        """What the learning rate of the running step is multiplied with, by batch; their mean."""
        self.before_backward: Callable[[Mapping[str, Tensor], float, bool], None] | None = None
        """Is shown the losses, the factor on them against underflow, and whether the method
        measures their gradients; must leave the graph whole."""
        optimizer.zero_grad(set_to_none=True)  # of whatever was computed before the fit

    def leave_out(self, paused: Collection[str]) -> None:
        """Pause these tasks, and no others, from the next step on.

        A step of several batches that is under way ends with the tasks that it began with.
        """
        if self.settled:
            self.paused = frozenset(paused)

    def backward(
        self, inputs: Any, targets: Mapping[str, Tensor], state: LoopState
    ) -> tuple[Losses, dict[str, float], Step | None]:
        """Forward and balanced backward of one batch.

        No step, and no losses, when no task has a label, or not the one that the method requires;
        no step while a method that reads several batches waits for the last of them. Raises
        `NonFiniteError` before anything is updated.
        """
        losses, features = self.forward.step(inputs, targets, self.paused)
        lacking = self.required is not None and self.required not in losses.values
        if not losses.values or lacking:
            return Losses({}, {}, losses.rows), {}, None
        values = values_of(losses.values)
        self._check(values, state)
        if features is None and len(values) > 1:
            self._check_statistic(isinstance(inputs, Parts))

        def again() -> dict[str, Tensor]:
            return self.forward.step(inputs, targets, self.paused)[0].values

        several = self.balancer.batches > 1
        if several and len(self.waiting) < self.balancer.batches - 1:
            if not self.waiting:
                self.first = again
            self.waiting.append(losses.values)
            return losses, values, None
        if self.before_backward is not None:
            scaler, kind = self.precision.scaler, self.balancer.statistic_kind
            scale = 1.0 if scaler is None else float(scaler.get_scale())
            known = kind == "gramian" and self.balancer.transform == "none"
            self.before_backward(losses.values, scale, known)
        self.window.before(losses.rows)
        try:
            step = self.balancer.backward(
                [*self.waiting, losses.values] if several else losses.values,
                features=features,
                counts=losses.counts,
                scaler=self.precision.scaler,
                closure=self.first or again,
                validation=None if self.held_out is None else self._validation(self.held_out),
                penalty=losses.penalty,
            )
        except NonFiniteError as error:
            raise NonFiniteError(f"{str(error).rstrip('.')} ({state.where()}).") from error
        self.waiting.clear()
        self.first = None
        if isinstance(self.forward.model, Architecture):
            self.forward.model.observe(values)
        return losses, values, step

    @property
    def required(self) -> str | None:
        """The main task, where the method takes no step without it."""
        return self.balancer.required if isinstance(self.balancer, MainTask) else None

    @property
    def settled(self) -> bool:
        """Whether nothing is under way that only memory holds: gradients or waiting losses."""
        return not self.window.rows and not self.waiting

    def _validation(self, held_out: Iterator[Batch]) -> Closure:
        """Computes losses on the next batch of held-out data, on that one however often."""
        # Drawn at the first call: most steps of a method may do without.
        batch = cache(lambda: next(held_out))

        def compute() -> dict[str, Tensor]:
            inputs, targets = batch()
            return self.forward.step(inputs, targets, self.paused, plain=True)[0].values

        return compute

    def update(self, state: LoopState) -> None:
        """Step with the gradients of the window, if any batch gave some.

        Raises `NonFiniteError` when they are not finite, before the parameters change. (Under
        fp16 the scaler leaves such a step out and lowers its scale.)
        """
        rate = sum(self.rates) / len(self.rates) if self.rates else 1.0
        self.rates.clear()
        if not self.window.rows:
            return
        self.window.close()
        self.precision.unscale(self.optimizer)
        self._clip(state)
        stepped = self._step(rate)
        self.optimizer.zero_grad(set_to_none=True)
        if stepped:
            state.step += 1
            if isinstance(self.forward.model, Architecture):
                self.forward.model.after_step(self.optimizer.param_groups[0]["lr"])
            if self.scheduler is not None:
                self.scheduler.step()
        self.balancer.after_step()

    def _step(self, rate: float) -> bool:
        """Step the optimizer, with a multiple of its learning rates in this one step."""
        if rate == 1.0:
            return self.precision.step(self.optimizer)
        groups = self.optimizer.param_groups
        usual = [group["lr"] for group in groups]
        for group, lr in zip(groups, usual, strict=True):
            group["lr"] = lr * rate
        try:
            return self.precision.step(self.optimizer)
        finally:
            for group, lr in zip(groups, usual, strict=True):
                group["lr"] = lr

    def _clip(self, state: LoopState) -> None:
        norm = nn.utils.get_total_norm(p.grad for p in self.parameters if p.grad is not None)
        # Methods that read losses alone never look at gradients, so this is where an infinite
        # slope of a finite loss is found.
        if self.precision.scaler is None and not bool(torch.isfinite(norm)):
            raise NonFiniteError(
                f"the gradient of the tasks together has norm {norm.item()} by {state.where()}, "
                "though every loss was finite; nothing was updated. Look for a square root, "
                "logarithm or division at 0 in the model or a loss; method 'mgda' would name "
                "the task."
            )
        if self.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, norm)

    def _check_statistic(self, in_parts: bool) -> None:
        """Refuse a statistic that the step or the architecture cannot give, with the reason."""
        if in_parts and self.balancer.statistic == "features":
            raise UserError(
                "statistic='features' needs one representation that all tasks share; a step of "
                "data sets with different inputs has one for each. Use statistic='tail' or 'exact'."
            )
        reason = getattr(self.forward.model, "no_features", "")
        if reason and self.balancer.statistic == "features":
            name = type(self.forward.model).__name__
            raise UserError(
                "statistic='features' needs one representation that all tasks share; "
                f"{name} has none: {reason.rstrip('.')}. Use statistic='tail' or 'exact'."
            )

    def _check(self, values: Mapping[str, float], state: LoopState) -> None:
        if self.balancer.non_finite == "skip_task":
            return
        for name, value in values.items():
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"the loss of task {name!r} is {value} at {state.where()}; nothing was "
                    "updated. Look for infinite inputs or targets, or lower the learning rate."
                )
