"""Auto-lambda."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError, unknown
from polytask.kernel.problem import Problem, check_finite, pose
from polytask.kernel.shift import Closure, shifted
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, Losses, check_range
from polytask.optimization.learned import adam_step, in_first_units
from polytask.optimization.main_task._main import check_shared, confirm_main


class AutoLambda(Balancer):
    """Weights learned so that one step on the weighted sum lowers the primary validation loss.

    w descends on L_val(theta') where theta' = theta - inner_lr sum_t w_t g_t(theta) and L_val is
    the sum of the primary tasks' losses on held-out data (Liu et al. 2022,
    https://arxiv.org/abs/2202.03091). The slope by w_t is exactly
    -inner_lr <grad L_val(theta'), g_t(theta)>, so no second derivative is taken: all T products
    come from one central difference along grad L_val(theta').

    Needs `backward(losses, closure=..., validation=...)`; `closure` computes this batch's
    losses again, `validation` those of a held-out batch. Cost: two backward passes over this
    batch, a forward and a backward pass over the held-out one and two forward passes without a
    graph, whatever the number of tasks; five numbers of state a task. Parameters, buffers and
    random states are restored bit for bit. Heads take the weights. A held-out batch without a
    label of any primary task teaches nothing: the step keeps the weights. A training batch without
    one is a step like any other.

    Deviations of the paper: the virtual step is plain gradient descent and moves the shared
    parameters only (a head serves one task, so the main effect of a weight on other tasks goes
    through what is shared); w is clamped at 0, where the official code lets it go negative; the
    step uses the w from before this step's update. The official code takes its 'validation' from
    the training set and adds the optimizer's momentum and weight decay to the virtual step.

    Args:
        primary: names of the tasks whose validation loss counts; all that `validation` returns
            when left out (multi-task weighting rather than auxiliary learning).
        initial: starting value of every weight.
        lr: learning rate of the weights (Adam).
        inner_lr: length of the virtual step: the learning rate of the network, if it is SGD.
        options: those of every `Balancer`.
    """

    statistic_kind = "row"
    needs = ("closure", "validation")

    def __init__(
        self,
        primary: str | Sequence[str] | None = None,
        initial: float = 0.1,
        lr: float = 1e-4,
        inner_lr: float = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not initial > 0 or not inner_lr > 0:
            raise UserError(
                f"initial and inner_lr must be positive, found {initial} and {inner_lr}."
            )
        check_range("lr", lr, 0)
        self.primary = (primary,) if isinstance(primary, str) else primary and tuple(primary)
        if self.primary == ():
            raise UserError("primary= names no task; leave it out to count all of them.")
        self.initial = initial
        self.lr = lr
        self.inner_lr = inner_lr

    def row_vector(
        self,
        problem: Problem,
        parameters: Sequence[Tensor],
        closure: Closure | None,
        validation: Closure | None,
    ) -> Sequence[Tensor] | None:
        """The gradient of the primary validation loss after a virtual step on the weighted sum."""
        assert validation is not None, "checked by the balancer"
        check_shared(problem, self.primary or (), self.discovery)
        weights = self._weights(problem.tasks, problem.values)
        # A loss that is not finite is left to the policy of the kernel, which names it.
        fine = torch.isfinite(problem.values).tolist()
        parts = [
            weight * loss
            for weight, loss, ok in zip(weights, problem.losses, fine, strict=True)
            if ok
        ]
        if not parts:
            return [torch.zeros_like(parameter) for parameter in parameters]
        step = _gradient(torch.stack(parts).sum(), parameters, retain_graph=True)
        with shifted(parameters, [-self.inner_lr * gradient for gradient in step]):
            loss = self._primary_loss(validation())
            return None if loss is None else _gradient(loss, parameters)

    def decide(self, statistic: Statistic) -> Tensor:
        """The current weights, which are stepped afterwards."""
        tasks = statistic.tasks
        weights = self._weights(tasks, statistic.losses)
        if statistic.row is None:
            return weights
        slope = -self.inner_lr * statistic.row
        adam_step(self, "weight", tasks, in_first_units(self, "weight", slope), self.lr)
        self.store("weight", tasks, self._weights(tasks, slope).clamp_min(0))
        return weights

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The sum of the weights at the start."""
        return self.initial * len(tasks)

    def _weights(self, tasks: tuple[str, ...], like: Tensor) -> Tensor:
        start = torch.tensor(self.initial, dtype=torch.float64)
        return self.entry("weight", tasks, start.clone, like)

    def _primary_loss(self, losses: Losses) -> Tensor | None:
        """The sum of the primary tasks' losses; None where the held-out batch has none of them."""
        for task in self.primary or ():
            if task in losses:
                confirm_main(task, self)
            elif not self.has("main_seen", task):
                raise UserError(
                    f"{unknown('primary task', task, losses)} Every primary task must be among "
                    "the losses that `validation` returns."
                )
        present = [task for task in self.primary or losses if task in losses]
        if self.primary and not present:
            return None
        held_out = pose({task: losses[task] for task in present})
        check_finite(held_out.values, held_out.tasks, "validation loss")
        return torch.stack(held_out.losses).sum()


def _gradient(
    loss: Tensor, parameters: Sequence[Tensor], retain_graph: bool = False
) -> list[Tensor]:
    """Gradients on the parameters; zeros where the loss does not reach."""
    found = torch.autograd.grad(loss, parameters, retain_graph=retain_graph, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters, found, strict=True)
    ]
