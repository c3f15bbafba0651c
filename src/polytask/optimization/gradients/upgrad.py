"""Unconflicting projection of gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.solvers import nonnegative_qp
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer


class UPGrad(Balancer):
    """Each gradient is moved to the nearest direction that hurts no task; then they are averaged.

    d = mean over t of π(g_t), with π the projection on the dual cone {v: Jv >= 0} (Quinton &
    Rey 2024, https://arxiv.org/abs/2406.16232). π(Jᵀu) = Jᵀv with v = u + y and y >= 0 a
    non-negative quadratic program over G, one a task. Jd >= 0 always, d is the mean gradient
    when nothing conflicts, and what a task contributes is linear in its gradient's length.

    Cost: that of the statistic and one backward pass; no state. The T programs are solved
    together and exactly. Heads are plain. No deviation from the paper. The authors' code adds
    1e-4 to the diagonal of the normalised Gramian and takes a Gramian whose trace is below
    1e-4 for zero, so that small gradients are merely averaged; nothing of the kind is done
    here.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def decide(self, statistic: Statistic) -> Tensor:
        """Mean over t of the weights that make π(g_t)."""
        g = statistic.need_gramian()
        pushes = nonnegative_qp(g, g)
        return (torch.eye(len(g), dtype=g.dtype, device=g.device) + pushes).mean(dim=0)

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """Equal gradients do not conflict: their mean."""
        return 1.0
