"""Losses of different units: noticed in the first steps, and said once with what to do."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.measure import Discovery, measure
from polytask.kernel.problem import pose
from polytask.training._recorder import BUDGET, DEPTH
from polytask.training.callbacks import Callback

if TYPE_CHECKING:
    from polytask.kernel.step import Step
    from polytask.training.trainer import Trainer

RATIO = 100.0
"""From how many times another task's gradient on one is said to be too large."""
MOST, EVERY = 5, 30
"""Steps that are looked at, and how many a training has for each: a look costs a third of one."""
log = logging.getLogger("polytask.training")


class ScaleWatch(Callback):
    """Says when one task's gradient on shared parameters is 100 times another's or more.

    Summed as they are, such losses train one task: the other's gradient is lost in its noise.
    Gradients are taken in the first steps in which at least two tasks have labels: as a method
    that reads them has measured them, and else of the last shared layers, on the graph of the
    step, whose result stays the same bit for bit. 5 steps are looked at, fewer in a training below
    150, at a cost below 1 % of it (a training below 30 steps is looked at once). The norms are
    geometric means over these steps.

    A method that makes up for it keeps it quiet: the ratio must be there with the weights that the
    method gives too. Methods that answer a direction rather than weights, or read several batches
    a step, are not watched; nor are tasks whose gradient is reversed, which is to be small or large
    as it is set, nor models in which nothing is shared.
    """

    def __init__(self) -> None:
        self.remark = ""
        self._left = 0
        self._tries = 0
        self._logs: dict[str, list[tuple[float, float]]] = {}
        self._discovery = Discovery()
        self._norms: dict[str, float] = {}
        self._names: frozenset[str] = frozenset()

    def on_train_begin(self, trainer: Trainer) -> None:
        """Work out how many steps to look at, where there is something to watch."""
        balancer, fit = trainer.balancer, trainer._fit
        self._names = frozenset(name for name, task in trainer.tasks.items() if not task.reverse)
        told = balancer.statistic_kind not in ("jacobian", "cross") and balancer.batches == 1
        if fit is None or len(self._names) < 2 or not told:
            return
        steps = len(fit.train) * trainer.settings.epochs if isinstance(fit.train, Sized) else None
        wanted = MOST if steps is None else max(1, min(MOST, steps // EVERY))
        done = max(map(len, self._logs.values()), default=0)
        self._left = 0 if self.remark else max(0, wanted - done)
        self._tries = 4 * self._left
        fit.stepper.before_backward = self.look

    def look(self, losses: Mapping[str, Tensor], scale: float, known: bool) -> None:
        """Measure the norms of a step's gradients before its backward pass, when it is time to.

        `scale` is the factor on losses against float16 underflow; `known`, whether the method
        measures the norms itself.
        """
        self._norms = {}
        present = {name: loss for name, loss in losses.items() if name in self._names}
        if not self._left or known or len(present) < 2:
            return
        self._tries -= 1
        try:
            found = measure(
                pose(present),
                "tail",
                discovery=self._discovery,
                depth=DEPTH,
                budget=BUDGET,
                turn=self._tries,
                loss_scale=scale,
            )
        except (UserError, RuntimeError):
            # Nothing is shared, or a graph that can be walked but once: not worth a training.
            self._left = 0
            return
        self._norms = _norms(present, found.gramian)

    def on_grad_computed(self, trainer: Trainer, step: Step) -> None:
        """Note what was measured, with the weights of the step; judge when there is enough."""
        if not self._left:
            return
        if step.gramian is not None and trainer.balancer.transform == "none":
            self._norms = _norms(step.tasks, step.gramian)
        noted = {
            name: (math.log(norm), math.log(norm * float(step.weights.get(name, 1.0))))
            for name, norm in self._norms.items()
            if name in self._names and norm > 0 and float(step.weights.get(name, 1.0)) > 0
        }
        self._norms = {}
        if len(noted) > 1:
            for name, logs in noted.items():
                self._logs.setdefault(name, []).append(logs)
            self._left -= 1
        elif self._tries <= 0:
            self._left = 0
        if not self._left and self._logs:
            self._judge()

    def state_dict(self) -> dict[str, Any]:
        """What was noted so far; nothing in a training that is not watched."""
        if not self._logs:
            return {}
        logs = {name: [list(pair) for pair in pairs] for name, pairs in self._logs.items()}
        return {"logs": logs, "remark": self.remark}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what was noted."""
        self._logs = {name: [(a, b) for a, b in pairs] for name, pairs in state["logs"].items()}
        self.remark = state["remark"]

    def _judge(self) -> None:
        """Compare the task with the largest gradient and the one with the smallest."""
        raw, weighed = (
            {
                name: sum(pair[i] for pair in pairs) / len(pairs)
                for name, pairs in self._logs.items()
            }
            for i in (0, 1)
        )
        large, small = max(raw, key=raw.__getitem__), min(raw, key=raw.__getitem__)
        ratio = raw[large] - raw[small]
        if min(ratio, weighed[large] - weighed[small]) < math.log(RATIO):
            return
        self.remark = (
            f"in the first steps the gradient of {large!r} on the shared parameters was "
            f"{math.exp(ratio):,.0f} times that of {small!r}, which hardly counts beside it. "
            "Standardise the target of a regression (Task.fitted does it beforehand, "
            "Trainer(popart=True) while training), weigh the losses, or use the method "
            "'scale_invariant' or one that reads gradients, such as 'imtl_g'."
        )
        log.warning("%s", self.remark)


def scale_remarks(callbacks: Iterable[Callback]) -> list[str]:
    """What was said of the scale of losses."""
    return [c.remark for c in callbacks if isinstance(c, ScaleWatch) and c.remark]


def _norms(tasks: Iterable[str], gramian: Tensor) -> dict[str, float]:
    """Roots of the diagonal, by task; tasks whose gradient is not finite are left out."""
    found = torch.diagonal(gramian.detach().double()).clamp(min=0).sqrt().tolist()
    return {name: n for name, n in zip(tasks, found, strict=True) if math.isfinite(n)}
