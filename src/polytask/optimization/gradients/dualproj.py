"""Projection of the mean gradient on the dual cone."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.solvers import nonnegative_qp
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer


class DualProj(Balancer):
    """The direction nearest to the mean gradient that hurts no task.

    d = π(mean of the g_t), with π the projection on {v: Jv >= 0} (Lopez-Paz & Ranzato 2017,
    https://arxiv.org/abs/1706.08840, eq. 11, who project a new task's gradient against those
    of past tasks; as a balancer in Quinton & Rey 2024, https://arxiv.org/abs/2406.16232).
    d = Jᵀ(1/T + y) with y >= 0 a non-negative quadratic program over G. Jd >= 0 always, and
    d is the mean gradient when nothing conflicts.

    Cost: that of the statistic and one backward pass; no state. The program is solved exactly.
    Heads are plain. Deviation: the mean of all tasks is projected, not one new task's
    gradient. Official code of the first paper adds a margin to y and a small multiple of the
    identity to G, which is not done here.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def decide(self, statistic: Statistic) -> Tensor:
        """1/T + y."""
        g = statistic.need_gramian()
        mean = torch.full((1, len(g)), 1 / len(g), dtype=g.dtype, device=g.device)
        return (mean + nonnegative_qp(g, mean @ g))[0]

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """Equal gradients do not conflict: their mean."""
        return 1.0
