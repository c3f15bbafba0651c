"""Projecting conflicting gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer


class PCGrad(Balancer):
    """Each gradient loses its component against every other that it conflicts with.

    v <- g_i; for the other tasks j in a fresh random order: if <v, g_j> < 0 then
    v <- v - <v, g_j> / |g_j|² g_j; the direction is the sum of the v's (Yu et al. 2020,
    https://arxiv.org/abs/2001.06782, algorithm 1). All of it happens on coefficients
    v = sum_k a_k g_k, so only the Gramian is needed: O(T³) small work, no pass over the
    parameters.

    Cost: that of the statistic and one backward pass; no state but the generator. Heads are
    plain. Deviation of the official code, not followed here: it drops its shuffle, so that the
    order is fixed, and it projects the heads' parameters too.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def decide(self, statistic: Statistic) -> Tensor:
        """Sum over i of the coefficients of the projected g_i."""
        g = statistic.need_gramian()
        count = len(g)
        order = torch.rand(count, count, generator=statistic.generator).argsort(dim=1)
        return project(g, order).sum(dim=0)


def project(g: Tensor, order: Tensor) -> Tensor:
    """Coefficients of every projected gradient, row i for g_i, shape [T, T].

    Args:
        g: Gramian, [T, T].
        order: row i is the order in which g_i meets the others (its own index is passed over).
    """
    count = len(g)
    own = torch.arange(count)
    size = g.diagonal()
    a = torch.eye(count, dtype=g.dtype)
    for j in order.T:
        # Row i meets task j[i]; all rows take their k-th encounter at once.
        dot = (a * g[:, j].T).sum(dim=1)
        meets = (dot < 0) & (j != own) & (size[j] > 0)
        step = torch.where(meets, dot / torch.where(size[j] > 0, size[j], 1.0), 0.0)
        a[own, j] -= step
    return a
