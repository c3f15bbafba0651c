"""How a task's loss bends along the coordinates of the surrogate, so that few steps solve it."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.tasks import Task
from polytask.training._surrogate_linear import Linear

FLOOR = 1e-9
"""Added to the diagonal, as a share of its largest number: a coordinate that changes nothing
would have no length otherwise."""
DAMPING = 1e-3
"""Weight of the items where a loss is flat at the start, and need not be later."""
ROUNDING = 1e-12


def curvature(task: Task, linear: Linear, constants: bool) -> Tensor:
    """Second derivatives of the task's mean loss at its start, [m, m].

    By the coordinates along the directions and then, with `constants`, by those of its outputs. A
    loss whose second derivatives are of no use (the absolute error has none, one of your own need
    not be convex) is taken for one that bends by 1 everywhere: steps change by that, minima do
    not. One second derivative by the outputs for each coordinate.
    """
    moves = linear.derivatives.movedim(-1, 0)
    if constants:
        shape = linear.start.shape
        width = linear.start[0].numel()
        own = torch.eye(width, dtype=moves.dtype, device=moves.device)
        moves = torch.cat([moves, own.reshape(width, 1, *shape[1:]).expand(width, *shape)])
    flat = moves.flatten(1)
    plain = flat @ flat.T / len(linear.start)
    bends = torch.stack([bent.flatten() for bent in _bent(task, linear, moves)])
    found = flat @ bends.T
    found = (found + found.T) / 2
    size, whole = float(found.trace()), float(plain.trace())
    if not bool(found.isfinite().all()) or size <= DAMPING * whole:
        return plain
    if float(torch.linalg.eigvalsh(found)[0]) < -ROUNDING * size:
        return plain
    return found + DAMPING * size / whole * plain


def _bent(task: Task, linear: Linear, moves: Tensor) -> list[Tensor]:
    """The second derivatives of the mean loss by the outputs, times each of the moves."""
    outputs = linear.start.clone().requires_grad_()
    nothing = [torch.zeros_like(move) for move in moves]
    with torch.enable_grad():
        value = task.item_losses(outputs, linear.target).mean()
        try:
            (first,) = torch.autograd.grad(value, outputs, create_graph=True)
            if not first.requires_grad:
                return nothing
            return [
                torch.autograd.grad(
                    first, outputs, move, retain_graph=True, materialize_grads=True
                )[0]
                for move in moves
            ]
        except RuntimeError:  # a loss of one's own that can be derived only once
            return nothing


def straight(bend: Tensor) -> Tensor:
    """The matrix A for which a function with these second derivatives bends by 1 in z, x = A z.

    `bend` is [m, m], without negative eigenvalues but for rounding.
    """
    one = torch.eye(len(bend), dtype=bend.dtype, device=bend.device)
    largest = float(bend.diagonal().max())
    factor = torch.linalg.cholesky(bend + one * (FLOOR * largest if largest > 0 else 1.0))
    return torch.linalg.solve_triangular(factor.T, one, upper=True)
