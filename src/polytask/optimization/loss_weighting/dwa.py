"""Dynamic weight average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer
from polytask.optimization.loss_weighting._epoch_means import add_losses, close_epoch
from polytask.optimization.loss_weighting._losses import need_positive


class DWA(Balancer):
    """Tasks whose loss fell least from one epoch to the next count more in the following.

    w_t = T softmax(r_t / temperature) with r_t = L_t(e-1) / L_t(e-2), the mean losses of the
    last two epochs; all weights are 1 in the first two (Liu, Johns & Davison 2019,
    https://arxiv.org/abs/1803.10704, eq. 7).

    Call `balancer.observe(epoch=...)` at the end of every epoch; without it the weights stay 1.
    Cost: one backward pass; four numbers of state a task. Raises `UserError` when a loss is
    negative. Deviations of the paper, for tasks that come and go: a task's epoch mean is over
    the steps in which it was present, epochs without it leave its two means as they are, and a
    task with less than two means (or whose older one is 0) has r = 1. Deviation of the official
    code: none in the weights; it reads its own log of costs, this one keeps the means itself.

    Args:
        temperature: 2 in the paper; towards infinity all weights become 1.
        options: those of every `Balancer`.
    """

    needs = ("epoch",)

    def __init__(self, temperature: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        if not temperature > 0:
            raise UserError(f"temperature of dwa must be positive, found {temperature}.")
        self.temperature = temperature

    def decide(self, statistic: Statistic) -> Tensor:
        """T softmax(r / temperature); the losses join the mean of the running epoch."""
        need_positive("dwa", statistic.tasks, statistic.losses, zero=True)
        add_losses(self, statistic.tasks, statistic.losses)
        ratios = torch.tensor([self._ratio(t) for t in statistic.tasks]).to(statistic.losses)
        return len(statistic) * torch.softmax(ratios / self.temperature, dim=0)

    def observe(
        self, *, scores: Mapping[str, float] | None = None, epoch: int | None = None
    ) -> None:
        """With `epoch`, the running epoch is over: its means become the last ones."""
        super().observe(scores=scores, epoch=epoch)
        if epoch is None:
            return
        for task, mean in close_epoch(self).items():
            if self.has("last", task):
                self.table["previous", task] = self.table["last", task]
            self.table["last", task] = mean

    def _ratio(self, task: str) -> float:
        if not self.has("previous", task) or float(self.table["previous", task]) == 0.0:
            return 1.0
        return float(self.table["last", task] / self.table["previous", task])
