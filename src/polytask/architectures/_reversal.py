"""Gradients scaled on their way back: reversed for an adversary, or stopped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def scaled_gradient(h: Tensor, factor: float) -> Tensor:
    """`h` itself; its gradient is multiplied by `factor` on the way back.

    -1 is the gradient reversal layer of Y. Ganin & V. Lempitsky, ICML 2015,
    https://arxiv.org/abs/1409.7495: what reads `h` learns to lower its loss, what made `h` learns
    to raise it. 0 stops the gradient and yet leaves the parameters behind `h` in the graph, with
    a gradient of zero.
    """
    scaled: Tensor = _ScaledGradient.apply(h, factor)
    return scaled


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return h.view_as(h)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None
