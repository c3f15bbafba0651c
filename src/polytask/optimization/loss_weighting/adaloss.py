"""Adaptive loss balancing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer
from polytask.optimization.loss_weighting._losses import need_positive


class AdaLoss(Balancer):
    """Losses are brought to one size: weights are inversely proportional to their running means.

    m_t <- beta m_t + (1 - beta) L_t from the task's first loss, and w_t = T (1 / m_t) /
    sum_s (1 / m_s) (Hu, Dey, Hebert & Bagnell 2019, https://arxiv.org/abs/1708.06832). It is a
    smoothed descent on the geometric mean of the expected losses. The weights of T tasks sum to
    T: the paper leaves the constant open.

    Cost: one backward pass; one number of state a task. Raises `UserError` when a loss is
    negative. A loss that has only been 0 has no size and nothing to learn: it counts 0. Heads
    take the weights. Deviation: official code of a paper that compares with this method minimises
    L_m + sum_k log L_k in its place, without a mean and with a constant added to one of the
    losses; that is scale-invariant weighting of the helpers.

    Args:
        beta: share of its past that the running mean keeps, in [0, 1).
        options: those of every `Balancer`.
    """

    def __init__(self, beta: float = 0.9, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= beta < 1:
            raise UserError(f"beta must be at least 0 and below 1, found {beta}.")
        self.beta = beta

    def decide(self, statistic: Statistic) -> Tensor:
        """T (1 / m) / sum (1 / m)."""
        tasks, losses = statistic.tasks, statistic.losses
        need_positive("adaloss", tasks, losses, zero=True)
        for task, loss in zip(tasks, losses.unbind(), strict=True):
            held = self.table.get(("mean", task), loss)
            self.table["mean", task] = torch.lerp(loss, held.to(loss), self.beta).detach()
        means = self.entry("mean", tasks, 0.0, losses)
        live = means > 0
        if not bool(live.any()):
            return torch.ones_like(means)
        # Relative to the least one: the reciprocal of a tiny mean overflows.
        share = torch.where(live, means[live].min() / torch.where(live, means, 1.0), 0.0)
        return len(tasks) * share / share.sum()
