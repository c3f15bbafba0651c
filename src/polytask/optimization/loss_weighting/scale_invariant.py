"""Scale-invariant weighting."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer
from polytask.optimization.loss_weighting._losses import first_losses, need_positive


class ScaleInvariant(Balancer):
    """The sum of the logarithms of the losses: no task gains by the unit of its loss.

    minimise sum_t log L_t, so w_t = 1 / L_t (the SI baseline of Liu et al. 2023,
    https://arxiv.org/abs/2306.03792). Multiplying any loss by any positive number changes no
    step. What uncertainty weighting and IMTL-L settle at is this, up to a factor.

    Cost: one backward pass, no state (with scale='sum' one number a task). Raises `UserError`
    when a loss is not positive. The weights grow as the losses shrink, so scale='sum' divides
    by the weights of the first step, a constant of the run, in which they then sum to T.
    Deviations: none of the official code (it adds no constant inside the logarithm either).
    """

    def decide(self, statistic: Statistic) -> Tensor:
        """1 / L_t."""
        need_positive("scale_invariant", statistic.tasks, statistic.losses)
        if self.scale == "sum":
            first_losses(self, statistic.tasks, statistic.losses)
        return 1 / statistic.losses

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The sum of the weights when the tasks were first seen."""
        one = torch.ones(len(tasks), dtype=torch.float64)
        return float((1 / first_losses(self, tasks, one)).sum())
