"""Geometric loss strategy."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer
from polytask.optimization.loss_weighting._losses import need_positive


class GLS(Balancer):
    """The geometric mean of the losses, which does not care about their units.

    minimise (prod_t L_t)^(1/T), so w_t = GLS / (T L_t) (Chennupati et al. 2019, MultiNet++,
    https://arxiv.org/abs/1904.08492). Computed as exp(mean log L): a product of 40 losses
    would under- or overflow.

    Cost: one backward pass, no state. Raises `UserError` when a loss is not positive.
    """

    def decide(self, statistic: Statistic) -> Tensor:
        """GLS / (T L_t)."""
        losses = statistic.losses
        need_positive("gls", statistic.tasks, losses)
        logs = losses.log()
        return torch.exp(logs.mean() - logs) / len(losses)

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """Equal losses get 1/T each."""
        return 1.0
