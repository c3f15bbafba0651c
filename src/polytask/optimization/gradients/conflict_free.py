"""Conflict-free update, known as ConFIG."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.solvers import correlate, solve_ones
from polytask.kernel.solvers.correlation import NOISE
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer


class ConflictFree(Balancer):
    """A direction at the same angle to every gradient, as long as their projections on it.

    x = unit(U⁺1) with U the unit gradients as rows, d = (sum_t <g_t, x>) x (ConFIG: Liu et al.
    2024, https://arxiv.org/abs/2408.11104, eq. 2). The cosine with every gradient is the same
    and positive while the gradients are independent, so no task is hurt. In weights:
    a = C⁺1 with C the cosines, and w_t = (sum_s |g_s| (Ca)_s / aᵀCa) a_t / |g_t|.

    Cost: that of the statistic and one backward pass; no state. Zero gradients get weight 0.
    Heads are plain. Deviations: the pseudo-inverse takes eigenvalues of C within the noise of
    float32 sums for zero (the official code uses one of the Jacobian with the default
    tolerance), and where no direction is left (opposite gradients) all weights are 0, not NaN.
    The momentum variant, one task a step, is not part of it.
    """

    statistic_kind = "gramian"
    default_heads = "plain"
    aliases = ("config",)

    def decide(self, statistic: Statistic) -> Tensor:
        """The weights above."""
        known = correlate(statistic.need_gramian())
        a = solve_ones(known.cosine)
        angles = known.cosine @ a
        square = a @ angles  # of the projection of 1 on the range of C: at most T
        if bool(square <= NOISE * len(a)):
            return known.spread(torch.zeros_like(a))
        return known.spread((known.size @ angles) / square * a / known.size)


ConFIG = ConflictFree
