"""The mixture of some gradients that comes nearest to another one (ARML's subproblem)."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.solvers.min_norm import min_norm_point

TIGHT = 1e-6  # slopes this near to the least one, relative to their terms, count as equal
RANK = 1e-12  # eigenvalues below this share of the largest are rounding
SLACK = 1e-10  # what a slope, relative to its terms, or a weight may be below its bound


def nearest_mixture(gramian: Tensor, row: int, total: float) -> Tensor:
    """argmin |g_row - sum_k a_k g_k|² over a >= 0, sum a = total, k being all other rows.

    With w = a / total the distance is |sum_k w_k (total g_k - g_row)|², so the answer is total
    times the point of least norm in the hull of the vectors total g_k - g_row: an active-set
    method with a bounded number of pivots finds it. One linear system, that of the optimality
    conditions on the coordinates that it leaves free, then removes the rounding of the
    subtraction.

    Args:
        gramian: inner products of T gradients, shape [T, T].
        row: the one to come near to.
        total: the sum of the weights, positive.

    Returns:
        a, shape [T - 1], float64, in the order of the other rows. Of several answers (duplicate
        or linearly dependent gradients) the one of least length, so that duplicates share
        equally, wherever that solves the system exactly.
    """
    g = gramian.double()
    others = torch.arange(len(g), device=g.device) != row
    scale = g.diagonal().max()
    if not bool(scale > 0):
        return torch.full_like(g[others, row], total / max(len(g) - 1, 1))
    g = g / scale
    q, c = g[others][:, others], g[others, row]
    hull = total**2 * q - total * (c[:, None] + c[None, :]) + g[row, row]
    a = total * min_norm_point((hull + hull.T) / 2)
    size = (q.abs() @ a + c.abs()).max()
    slope = q @ a - c
    for free in (slope - (a @ slope) / total <= TIGHT * size, a > 0):
        exact = _stationary(q, c, total, free, SLACK * size)
        if exact is not None:
            return exact
    return a


def _stationary(q: Tensor, c: Tensor, total: float, free: Tensor, slack: Tensor) -> Tensor | None:
    """The point at which the slopes of all free coordinates are equal and the others are 0.

    None unless it is the minimum: no coordinate is negative and no other slope is lower.
    """
    count = int(free.sum())
    system = torch.ones(count + 1, count + 1, dtype=q.dtype, device=q.device)
    system[:-1, :-1] = q[free][:, free]
    system[-1, -1] = 0.0
    right = torch.cat([c[free], c.new_full((1,), total)])
    inverse = torch.linalg.pinv(system, rtol=RANK, hermitian=True)
    answer = inverse @ right
    answer = answer + inverse @ (right - system @ answer)  # refined once
    a = torch.zeros_like(c)
    a[free] = answer[:-1]
    slope = q @ a - c
    level = slope[free].mean()
    equal = bool((slope[free] - level).abs().max() <= slack)
    if equal and bool(a.min() >= -SLACK * total) and bool(slope.min() >= level - slack):
        a = a.clamp_min(0)
        return a * (total / a.sum())
    return None
