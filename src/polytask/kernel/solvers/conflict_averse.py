"""The best worst-case improvement within a ball around the mean gradient (CAGrad's subproblem)."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.solvers.min_norm import min_norm_point
from polytask.kernel.solvers.nonnegative_qp import nonnegative_qp

STEPS = 60
SLACK = 1e-12  # relative to the radius, with gradients of unit length


def conflict_averse(gramian: Tensor, c: float) -> Tensor:
    """y >= 0 such that d = g_0 + Jᵀy solves max_d min_t <g_t, d> subject to |d - g_0| <= c |g_0|.

    g_0 is the mean gradient. Exact: the answer of block pivoting is kept when it meets the
    optimality conditions, which it nearly always does after two or three small solves; else
    the problem is one equation for the level that is reached, see `_by_levels`.

    Args:
        gramian: inner products of the gradients, shape [T, T].
        c: the radius relative to |g_0|, at least 0.

    Returns:
        y, shape [T], float64; the paper's w is y / sum(y), and the weights are 1/T + y. Where
        a convex combination of the gradients is zero and the ball reaches a d with
        <g_t, d> >= 0 for every task, y is that of the nearest one, and |Jᵀy| <= c |g_0|.
    """
    g = gramian.double()
    y = torch.zeros(len(g), dtype=g.dtype, device=g.device)
    largest = g.diagonal().max()
    if c == 0 or not bool(largest > 0):
        return y
    g = g / largest  # y is free of units, and nothing below leaves the range of float64
    onto = g.mean(dim=1)  # <g_t, g_0>
    radius = c * float(onto.mean().clamp_min(0).sqrt())
    if radius == 0:
        return y
    found = _by_pivots(g, onto, radius) if bool((g.diagonal() > 0).all()) else None
    return _by_levels(g, onto, radius) if found is None else found


def _by_pivots(g: Tensor, onto: Tensor, radius: float) -> Tensor | None:
    """Guess which tasks are at the lowest level, solve in closed form, exchange what is wrong.

    On a set A of tasks, y_A = s G_AA⁻¹1 - G_AA⁻¹b with the level s from yᵀGy = radius².
    Returns None when it meets a singular block, a set out of reach, or does not settle.
    """
    size = g.diagonal().sqrt()
    unit = g / size[:, None] / size[None, :]
    target = torch.stack([1 / size, onto / size], dim=1)
    free = torch.zeros(len(g), dtype=torch.bool, device=g.device)
    free[(onto + radius * size).argmin()] = True
    for _ in range(10 + len(g)):
        some = free.nonzero()[:, 0]
        factor, info = torch.linalg.cholesky_ex(unit[some][:, some])
        if int(info):
            return None
        parts = torch.cholesky_solve(target[some], factor)
        ((one, both), (_, rest)) = (target[some].T @ parts).tolist()
        inside = both**2 - one * (rest - radius**2)
        if inside < 0:
            return None
        level = (both + inside**0.5) / one
        y = torch.zeros_like(onto).index_copy(0, some, level * parts[:, 0] - parts[:, 1])
        slope = unit @ y + target[:, 1] - level * target[:, 0]
        wrong = torch.where(free, y, slope) < -SLACK * radius
        if not bool(wrong.any()):
            return y.clamp_min(0) / size
        free = free ^ wrong
        if not bool(free.any()):
            return None
    return None


def _by_levels(g: Tensor, onto: Tensor, radius: float) -> Tensor:
    """Newton's method on the level s that every task shall reach.

    The shortest e with <g_t, g_0 + e> >= s for every task is e = Jᵀy with y from a
    non-negative quadratic program; its length N(s) is convex and rises with s. N(s) = radius
    is approached from the right, where Newton's steps descend monotonically, starting from the
    dual's value at MGDA's weights, which no level can exceed.
    """
    y = torch.zeros_like(onto)
    w = min_norm_point(g)
    level = float(w @ onto) + radius * float((w @ g @ w).clamp_min(0).sqrt())
    for _ in range(STEPS):
        y = nonnegative_qp(g, (onto - level)[None], start=y[None])[0]
        reached = float((y @ g @ y).clamp_min(0).sqrt())
        if reached <= radius * (1 + SLACK):
            break
        level -= reached * (reached - radius) / float(y.sum())
    return y
