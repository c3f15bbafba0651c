"""Terms that tie the weights of parallel networks: to their mean, or to be of low rank.

A weight of K networks is one tensor [K, ...], stacked along the first dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def spread(stack: Tensor) -> Tensor:
    """K sum_i ||W_i - mean||^2, which is sum over pairs of ||W_i - W_j||^2."""
    return len(stack) * (stack - stack.mean(dim=0)).square().sum()


def towards_mean(stack: Tensor, step: float) -> Tensor:
    """The proximal step of `step / 2 * spread`: the mean stays, differences shrink."""
    mean = stack.mean(dim=0)
    return mean + (stack - mean) / (1 + step * len(stack))


def nuclear_norm(matrix: Tensor) -> Tensor:
    """Sum of the singular values, with the sub-gradient U V^T of least norm.

    The derivative of `torch.linalg.svd` has differences of singular values as denominators, and
    is NaN where two are the same or one is 0. With U V^T as a constant, <X, U V^T> has the right
    value and gradient everywhere; singular values that are 0 to rounding add nothing. NaN for a
    matrix that is not finite.
    """
    if not bool(matrix.detach().isfinite().all()):
        return matrix.sum() * torch.nan
    with torch.no_grad():
        u, s, vh = torch.linalg.svd(_full(matrix), full_matrices=False)
        least = s[0] * torch.finfo(s.dtype).eps * max(matrix.shape)
        direction = (u * (s > least)) @ vh
    return (_full(matrix) * direction).sum()


def shrunk(matrix: Tensor, threshold: float) -> Tensor:
    """The proximal step of `threshold * nuclear_norm`: singular values less that, 0 at least."""
    u, s, vh = torch.linalg.svd(_full(matrix), full_matrices=False)
    lower: Tensor = ((u * (s - threshold).clamp(min=0)) @ vh).to(matrix.dtype)
    return lower


def unfolded(stack: Tensor, mode: int) -> Tensor:
    """The tensor as a matrix whose rows are along one dimension."""
    return stack.movedim(mode, 0).flatten(1)


def tucker_norm(stack: Tensor) -> Tensor:
    """The mean over dimensions of the nuclear norms of the unfoldings."""
    norms = [nuclear_norm(unfolded(stack, mode)) for mode in range(stack.dim())]
    return torch.stack(norms).mean()


def _full(matrix: Tensor) -> Tensor:
    """At least float32, which the decomposition needs."""
    return matrix if matrix.dtype in (torch.float32, torch.float64) else matrix.float()


def singular_values(matrix: Tensor) -> Tensor:
    """Largest first; NaN for a matrix that is not finite."""
    matrix = _full(matrix.detach())
    if not bool(matrix.isfinite().all()):
        return matrix.new_full((min(matrix.shape),), torch.nan)
    return torch.linalg.svdvals(matrix)


def rank(matrix: Tensor) -> int:
    """Singular values above a hundredth of the largest."""
    values = singular_values(matrix)
    return int((values > 1e-2 * values[0]).sum())


def spectrum(matrix: Tensor) -> list[float]:
    """Singular values as shares of the largest; 0 all of them where that is 0."""
    values = singular_values(matrix).double()
    return (values / values[0] if bool(values[0] != 0) else values).tolist()


def ranks_of(matrices: Mapping[str, Sequence[Tensor]]) -> dict[str, dict[str, list[int]]]:
    """Of several matrices a weight: their ranks, and the most that these could be."""
    return {
        "ranks": {name: [*map(rank, several)] for name, several in matrices.items()},
        "full": {name: [min(m.shape) for m in several] for name, several in matrices.items()},
    }
