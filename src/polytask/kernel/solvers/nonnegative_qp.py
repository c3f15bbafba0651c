"""Non-negative quadratic programs by block principal pivoting.

min ½ yᵀHy + fᵀy subject to y >= 0, for one symmetric positive semi-definite H and a batch of
f. The dual-cone projections (UPGrad, DualProj) and the min-norm point (MGDA) are of this form.
Method: Júdice & Pires 1994, with Murty's single-pivot rule as the fallback that makes it
finite; singular H by proximal-point steps, which also picks the answer of least change.
"""

from __future__ import annotations

import torch
from torch import Tensor

PROXIMAL = 1e-11  # relative to a unit diagonal; removed again by the proximal steps
PROXIMAL_STEPS = 3
PATIENCE = 3  # full exchanges allowed without progress before single pivots


def nonnegative_qp(h: Tensor, f: Tensor) -> Tensor:
    """Solve min ½ yᵀHy + fᵀy, y >= 0, for each row f of a batch.

    Args:
        h: symmetric positive semi-definite, shape [T, T].
        f: linear terms, shape [B, T]; bounded below is assumed (f_i >= 0 where H_ii is 0).

    Returns:
        y, shape [B, T], float64. The problem is first brought to a unit diagonal, so the
        answer does not depend on absolute scales.
    """
    h, f = h.double(), f.double()
    size = h.diagonal().clamp_min(0).sqrt()
    live = size > 0
    scale = torch.where(live, size, 1.0)
    unit = torch.where(live[:, None] & live[None, :], h / (scale[:, None] * scale[None, :]), 0.0)
    unit = unit.clone()
    unit.diagonal().fill_(1.0)  # exact, and dead coordinates solve to y = max(0, -f)
    linear = torch.where(live, f / scale, 0.0)
    # One length for each problem of the batch, so that tolerances are relative.
    length = linear.abs().amax(dim=1, keepdim=True)
    length = torch.where(length > 0, length, 1.0)
    y = _proximal(unit, linear / length) * length
    return torch.where(live, y / scale, 0.0)


def _proximal(h: Tensor, f: Tensor) -> Tensor:
    strict = h.clone()
    strict.diagonal().add_(PROXIMAL)
    free = torch.zeros_like(f, dtype=torch.bool)
    y = torch.zeros_like(f)
    for _ in range(PROXIMAL_STEPS):
        y, free = _pivot(strict, f - PROXIMAL * y, free)
    return y


def _pivot(h: Tensor, f: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Block principal pivoting from the starting set `free`; returns the solution and its set."""
    batch, count = f.shape
    eye = torch.eye(count, dtype=h.dtype, device=h.device)
    fewest = torch.full((batch,), count + 1, device=f.device)
    chances = torch.full((batch,), PATIENCE, device=f.device)
    index = torch.arange(count, device=f.device)
    y = torch.zeros_like(f)
    for _ in range(20 + 10 * count):
        both = free[:, :, None] & free[:, None, :]
        y = torch.linalg.solve(torch.where(both, h, eye), torch.where(free, -f, 0.0))
        slope = y @ h + f
        slack = 1e-13 * (1 + y.abs().amax(dim=1, keepdim=True))
        wrong = torch.where(free, y < -slack, slope < -slack)
        number = wrong.sum(dim=1)
        if not bool((number > 0).any()):
            break
        better = number < fewest
        fewest = torch.where(better, number, fewest)
        chances = torch.where(better, PATIENCE, chances - 1)
        last = torch.where(wrong, index, -1).amax(dim=1, keepdim=True)
        single = index == last
        free = free ^ torch.where((chances >= 0)[:, None], wrong, wrong & single)
    return y.clamp_min(0.0), free
