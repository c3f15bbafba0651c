"""Fast adaptive multi-task optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polytask.kernel.shift import Closure, read_losses, unnoticed
from polytask.kernel.statistic import Statistic
from polytask.kernel.step import Given, Step
from polytask.optimization.base import Balancer
from polytask.optimization.learned import adam_step
from polytask.optimization.loss_weighting._losses import need_positive


class FAMO(Balancer):
    """Weights learned so that all losses fall at the same relative rate, without gradients.

    With z = softmax(xi) and D_t = L_t - minimum_t, the step is on sum_t c z_t log D_t with
    c = 1 / sum_t (z_t / D_t), so w_t = c z_t / D_t and the weights sum to 1. After the
    optimizer's step the same batch is looked at again, delta_t = log D_t(before) -
    log D_t(after), and xi descends along (diag z - z zᵀ) delta: what improved more counts less
    from now on (Liu et al. 2023, https://arxiv.org/abs/2306.03792, algorithm 1).

    Needs `backward(losses, closure=...)` and `after_step()`. Cost: one backward pass and one
    forward pass without a graph, which leaves buffers and random states as they were; four
    numbers of state a task. Raises `UserError` when a loss is not above its minimum. The closure
    is held between `backward` and `after_step` only: save the state between steps.
    Deviations: the official code adds 1e-8 to D, here a loss that reaches its minimum after a
    step counts as fallen by the precision of a float, and a loss that is no longer finite is
    left out of the update; with gradient accumulation (several calls a step) delta compares
    the sums over the calls. Nothing is clipped here; the clipping in the official experiments
    runs before their backward pass and so has no effect.

    Args:
        lr: learning rate of xi (Adam).
        weight_decay: of xi, towards equal weights; official scripts use 0.001 mostly, 0.01 for one
            data set.
        minimum: task name to a lower bound of its loss; 0 when not named.
        options: those of every `Balancer`.
    """

    needs = ("closure", "after_step")

    def __init__(
        self,
        lr: float = 0.025,
        weight_decay: float = 0.001,
        minimum: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.lr = lr
        self.weight_decay = weight_decay
        self.minimum = dict(minimum or {})
        self._looks: list[tuple[Closure, dict[str, Tensor]]] = []

    def decide(self, statistic: Statistic) -> Tensor:
        """c z / D."""
        tasks = statistic.tasks
        gap = statistic.losses - self._minima(tasks)
        need_positive("famo", tasks, gap, remedy="state a lower bound of it with minimum=")
        share = torch.softmax(self.entry("logit", tasks, 0.0, gap), dim=0) / gap
        return share / share.sum()

    def after_backward(self, given: Given, step: Step) -> None:
        """Remember how to look at this batch again."""
        assert given.closure is not None, "checked by the balancer"
        self._looks.append((given.closure, step.losses))

    def after_step(self) -> None:
        """Look at the batch again and learn from what the step changed."""
        super().after_step()
        looks, self._looks = self._looks, []
        before: dict[str, float] = {}
        after: dict[str, float] = {}
        for closure, losses in looks:
            tasks = tuple(losses)
            with unnoticed(losses.values()), torch.no_grad():
                new = read_losses(closure(), tasks) - self._minima(tasks)
            old = read_losses(losses, tasks) - self._minima(tasks)
            for task, was, now in zip(tasks, old.tolist(), new.tolist(), strict=True):
                before[task] = before.get(task, 0.0) + was
                after[task] = after.get(task, 0.0) + now
        self._learn(
            tuple(before),
            torch.tensor(list(before.values()), dtype=torch.float64),
            torch.tensor(list(after.values()), dtype=torch.float64),
        )

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The weights always sum to 1."""
        return 1.0

    def _learn(self, tasks: tuple[str, ...], old: Tensor, new: Tensor) -> None:
        fine = torch.isfinite(new)
        tasks = tuple(task for task, ok in zip(tasks, fine.tolist(), strict=True) if ok)
        if not tasks:
            return
        old, new = old[fine], new[fine]
        new = torch.maximum(new, old * torch.finfo(old.dtype).eps)
        gradient = slope(self.entry("logit", tasks, 0.0, old), old.log() - new.log())
        adam_step(self, "logit", tasks, gradient, self.lr, self.weight_decay)

    def _minima(self, tasks: tuple[str, ...]) -> Tensor:
        return torch.tensor([self.minimum.get(t, 0.0) for t in tasks], dtype=torch.float64)


def slope(logits: Tensor, delta: Tensor) -> Tensor:
    """(diag z - z zᵀ) delta with z = softmax(logits), shape [T]; it sums to 0."""
    z = torch.softmax(logits, dim=0)
    return z * (delta - (z * delta).sum())
