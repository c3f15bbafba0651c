"""Non-negative quadratic programs by block principal pivoting.

min ½ yᵀHy + fᵀy subject to y >= 0, for one symmetric positive semi-definite H and a batch of
f. The dual-cone projections (UPGrad, DualProj), the min-norm point (MGDA) and CAGrad's
subproblem are of this form. Method: Júdice & Pires 1994, with Murty's single-pivot rule as the
fallback that makes it finite; singular H by proximal-point steps, which also picks the answer
of least change.
"""

from __future__ import annotations

import torch
from torch import Tensor

PROXIMAL = 1e-12  # relative to a unit diagonal; removed again by the proximal steps
PROXIMAL_STEPS = 4
SETTLED = 1e-11  # the proximal term's share of the slope that may stay
PATIENCE = 3  # full exchanges allowed without progress before single pivots


def nonnegative_qp(h: Tensor, f: Tensor, start: Tensor | None = None) -> Tensor:
    """Solve min ½ yᵀHy + fᵀy, y >= 0, for each row f of a batch.

    Args:
        h: symmetric positive semi-definite, shape [T, T].
        f: linear terms, shape [B, T]; bounded below is assumed (f_i >= 0 where H_ii is 0).
        start: the answer of a similar problem, shape [B, T]; saves pivots.

    Returns:
        y, shape [B, T], float64. The problem is first brought to a unit diagonal, so the
        answer does not depend on absolute scales.
    """
    h, f = h.double(), f.double()
    size = h.diagonal().clamp_min(0).sqrt()
    live = size > 0
    scale = torch.where(live, size, 1.0)
    unit = torch.where(live[:, None] & live[None, :], h / (scale[:, None] * scale[None, :]), 0.0)
    unit.diagonal().fill_(1.0)  # exact, and dead coordinates solve to y = max(0, -f)
    linear = torch.where(live, f / scale, 0.0)
    # One length for each problem of the batch, so that tolerances are relative.
    length = linear.abs().amax(dim=1, keepdim=True)
    length = torch.where(length > 0, length, 1.0)
    free = torch.zeros_like(f, dtype=torch.bool) if start is None else start > 0
    y = _proximal(unit, linear / length, free) * length
    return torch.where(live, y / scale, 0.0)


def _proximal(h: Tensor, f: Tensor, free: Tensor) -> Tensor:
    """Solve with H + ρI and move the centre until ρ no longer shows."""
    rho = _regularisation(h)
    strict = h.clone()
    strict.diagonal().add_(rho)
    y = torch.zeros_like(f)
    for _ in range(PROXIMAL_STEPS):
        before = y
        y, free = _pivot(strict, f - rho * before, free)
        if rho * float((y - before).abs().max()) <= SETTLED:
            break
    return y


def _regularisation(h: Tensor) -> float:
    """The least multiple of the identity that makes H safely positive definite.

    A Gramian summed in float32 may have eigenvalues of about -1e-7 times its diagonal.
    """
    strict = h.clone()
    strict.diagonal().add_(PROXIMAL)
    if int(torch.linalg.cholesky_ex(strict).info) == 0:
        return PROXIMAL
    return max(100 * PROXIMAL, -10.0 * float(torch.linalg.eigvalsh(h)[0]))


def _pivot(h: Tensor, f: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Block principal pivoting from the starting set `free`; returns the solution and its set.

    Problems that are solved leave the batch, so late pivots are cheap.
    """
    batch, count = f.shape
    solution, sets = torch.zeros_like(f), free
    where = torch.arange(batch, device=f.device)
    index = torch.arange(count, device=f.device)
    fewest = torch.full((batch,), count + 1, device=f.device)
    chances = torch.full((batch,), PATIENCE, device=f.device)
    whole = True
    for _ in range(20 + 10 * count):
        y = _solve_free(h, f, free)
        slope = y @ h + f
        slack = 1e-13 * (1 + y.abs().amax(dim=1, keepdim=True))
        wrong = torch.where(free, y < -slack, slope < -slack)
        number = wrong.sum(dim=1)
        if whole:
            solution, sets = y, free
        else:
            solution[where], sets[where] = y, free
        open_ = number > 0
        if not bool(open_.any()):
            break
        better = number < fewest
        fewest = torch.where(better, number, fewest)
        chances = torch.where(better, PATIENCE, chances - 1)
        single = index == torch.where(wrong, index, -1).amax(dim=1, keepdim=True)
        free = free ^ torch.where((chances >= 0)[:, None], wrong, wrong & single)
        if not bool(open_.all()):
            if whole:
                solution, sets, whole = solution.clone(), sets.clone(), False
            where, f, free = where[open_], f[open_], free[open_]
            fewest, chances = fewest[open_], chances[open_]
    return solution.clamp_min(0.0), sets


def _solve_free(h: Tensor, f: Tensor, free: Tensor) -> Tensor:
    """y with H y = -f on the free coordinates, 0 elsewhere; only the free blocks are factored."""
    y = torch.zeros_like(f)
    widest = int(free.sum(dim=1).max())
    if widest == 0:
        return y
    # Free coordinates first; shorter sets are filled up with rows of the identity.
    chosen = free.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :widest]
    used = free.gather(1, chosen)
    block = h[chosen[:, :, None], chosen[:, None, :]] * (used[:, :, None] & used[:, None, :])
    block.diagonal(dim1=1, dim2=2).masked_fill_(~used, 1.0)
    target = (-f.gather(1, chosen)).masked_fill(~used, 0.0)
    factor = torch.linalg.cholesky_ex(block).L
    part = torch.cholesky_solve(target[:, :, None], factor)[:, :, 0]
    return y.scatter(1, chosen, part)
