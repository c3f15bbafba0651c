"""Soft optimal uncertainty weighting."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer
from polytask.optimization.loss_weighting._losses import need_positive


class UWSO(Balancer):
    """The optimum of uncertainty weighting in closed form, through a softmax.

    w = softmax(1 / (temperature L_t)), not differentiated (Kirchdorfer et al. 2024,
    https://arxiv.org/abs/2408.07985): 1 / L_t are the weights that uncertainty weighting settles
    at, and the softmax keeps them bounded. The weights sum to 1.

    Cost: one backward pass, no state. Raises `UserError` when a loss is negative; as a loss
    goes to 0 it takes all the weight, without overflow, where public code adds 1e-8 to it. The
    temperature is to be tuned (the paper does, per data set), and it is an inverse loss: unlike
    scale_invariant this method depends on the losses' units.

    Args:
        temperature: small ones favour the smallest loss, large ones give equal weights.
        options: those of every `Balancer`.
    """

    def __init__(self, temperature: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        if not temperature > 0:
            raise UserError(f"temperature of uw_so must be positive, found {temperature}.")
        self.temperature = temperature

    def decide(self, statistic: Statistic) -> Tensor:
        """softmax(1 / (temperature L))."""
        need_positive("uw_so", statistic.tasks, statistic.losses, zero=True)
        inverse = 1 / statistic.losses.clamp_min(torch.finfo(statistic.losses.dtype).tiny)
        # The largest is taken off before the division, which may overflow for the others only.
        return torch.softmax((inverse - inverse.max()) / self.temperature, dim=0)

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The weights always sum to 1."""
        return 1.0
