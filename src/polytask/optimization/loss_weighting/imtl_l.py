"""Impartial multi-task learning, the loss part."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer
from polytask.optimization.learned import adam_step
from polytask.optimization.loss_weighting._losses import need_positive


class IMTLL(Balancer):
    """Learned scales bring every loss to the same size, whatever its unit.

    minimise sum_t exp(s_t) L_t - s_t over the network and s (Liu et al. 2021,
    https://openreview.net/forum?id=IMPnRXEWpvr, section 3.2). At the optimum exp(s) = 1 / L, so
    every scaled loss is 1 and the network's gradient is that of scale-invariant weighting.

    Cost: one backward pass; four numbers of state a task. Raises `UserError` when a loss is
    negative (s would grow without end). Deviation: the paper steps s with the network's
    optimizer; here the balancer steps it with Adam at its own `lr`, so that weight decay and
    schedules of the network do not touch it. There is no official code; public ones combine it
    with IMTL-G only (there: `imtl_g` with transform='log', its optimum).

    Args:
        lr: learning rate of the scales.
        initial: starting value of every s.
        options: those of every `Balancer`.
    """

    def __init__(self, lr: float = 0.01, initial: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.lr = lr
        self.initial = initial

    def decide(self, statistic: Statistic) -> Tensor:
        """exp(s) at the current s, which is stepped afterwards."""
        tasks, losses = statistic.tasks, statistic.losses
        need_positive("imtl_l", tasks, losses, zero=True)
        weights = torch.exp(self.entry("log_scale", tasks, self.initial, losses))
        adam_step(self, "log_scale", tasks, weights * losses - 1, self.lr)
        return weights

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The sum of the weights at the start."""
        return len(tasks) * math.exp(self.initial)
