"""The point of least norm in the convex hull of the gradients (MGDA's subproblem)."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.solvers.nonnegative_qp import nonnegative_qp


def min_norm_point(gramian: Tensor) -> Tensor:
    """argmin over the simplex of wᵀGw, exactly, by an active-set method.

    With x = s w and any c > 0, minimising xᵀGx + c (sum(x) - 1)² over x >= 0 gives the same w:
    the best value for a given w is c q / (c + q) with q = wᵀGw, which grows with q. So the
    simplex problem is a non-negative quadratic program. c is the value that orthogonal
    gradients of these norms would have, which keeps the answer free of absolute scales.

    Args:
        gramian: inner products of the gradients, shape [T, T].

    Returns:
        w >= 0 with sum 1, shape [T], float64. Zero gradients share all the weight: the
        least norm is zero there and nothing can be improved for those tasks.
    """
    g = gramian.double()
    size = g.diagonal().clamp_min(0)
    zero = size == 0
    if bool(zero.any()):
        return zero.double() / zero.sum()
    g = g / size.max()  # keeps the reciprocals below in range
    c = 1.0 / (1.0 / g.diagonal()).sum()
    x = nonnegative_qp(g + c, -c * torch.ones(1, len(g), dtype=g.dtype, device=g.device))[0]
    return x / x.sum()
