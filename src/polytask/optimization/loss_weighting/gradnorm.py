"""Gradient normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_range
from polytask.optimization.learned import adam_step, in_first_units
from polytask.optimization.loss_weighting._losses import first_losses, need_positive


class GradNorm(Balancer):
    """Weights learned so that gradient norms are alike, larger for tasks that learn slowly.

    With G_t = w_t |g_t| on the last shared layer, r_t the inverse training rate
    (L_t / L_t(0)) / mean and the target mean(G) r_t^alpha held constant, w descends on
    sum_t |G_t - target_t| and is then rescaled to sum to T (Chen et al. 2018,
    https://arxiv.org/abs/1711.02257, algorithm 1).

    Cost: T passes over the heads and the last shared layer, and one backward pass; five numbers
    of state a task. Heads take the weights, as in the paper. Raises `UserError` for negative
    losses, or a first loss of 0. Deviations of the paper: w is stepped by Adam with its slope
    in units of the first gradients (so that no result depends on the losses' unit), and kept
    from becoming negative; when only some tasks are present, the sum of their weights stays what
    it was. There is no official code; public ones pass w through a softmax, which is another
    dynamic.

    Args:
        alpha: strength of the pull to a common rate: 1.5 in the paper, 0.12 for its symmetric
            tasks; 0 makes the norms equal.
        lr: learning rate of the weights.
        initial_losses: task name to L_t(0); the first loss seen when not named. The paper
            advises log(number of classes) when the first loss depends on the initialisation.
        depth: how many shared layers, counted from the heads, the norms are of; None for what
            the `budget` of a `Balancer` allows.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"

    def __init__(
        self,
        alpha: float = 1.5,
        lr: float = 0.025,
        initial_losses: Mapping[str, float] | None = None,
        depth: int | None = 1,
        **options: Any,
    ) -> None:
        super().__init__(depth=depth, **options)
        check_range("alpha", alpha, 0)
        self.alpha = alpha
        self.lr = lr
        self.initial_losses = dict(initial_losses or {})
        if any(not value > 0 for value in self.initial_losses.values()):
            raise UserError(f"initial_losses must be positive, found {self.initial_losses}.")

    def decide(self, statistic: Statistic) -> Tensor:
        """The current weights, which are stepped afterwards."""
        tasks = statistic.tasks
        norms = statistic.need_gramian().diagonal().clamp_min(0).sqrt()
        weights = self.entry("weight", tasks, 1.0, norms)
        gap = weights * norms - targets(weights * norms, self._progress(statistic), self.alpha)
        slope = torch.sign(gap) * in_first_units(self, "norm", norms)
        adam_step(self, "weight", tasks, slope, self.lr)
        moved = self.entry("weight", tasks, 1.0, norms).clamp_min(0)
        # Nothing is left to rescale when a learning rate of several units took all below zero.
        moved = moved * (weights.sum() / moved.sum()) if bool(moved.sum() > 0) else weights
        self.store("weight", tasks, moved)
        return weights

    def _progress(self, statistic: Statistic) -> Tensor:
        """L_t / L_t(0)."""
        tasks, losses = statistic.tasks, statistic.losses
        need_positive("gradnorm", tasks, losses, zero=True)
        first = first_losses(self, tasks, losses).tolist()
        named = [self.initial_losses.get(t, x) for t, x in zip(tasks, first, strict=True)]
        start = torch.tensor(named, dtype=losses.dtype)
        need_positive("gradnorm", tasks, start, remedy="name its first loss in initial_losses=")
        return losses / start


def targets(sizes: Tensor, progress: Tensor, alpha: float) -> Tensor:
    """mean(sizes) (progress / mean(progress))^alpha, shape [T].

    Args:
        sizes: norms of the weighted gradients, [T].
        progress: L_t / L_t(0), [T].
        alpha: strength of the pull to a common rate.
    """
    mean = progress.mean()
    rates = progress / mean if bool(mean > 0) else torch.ones_like(progress)
    return sizes.mean() * rates**alpha
