"""Impartial multi-task learning, its gradient half."""

from __future__ import annotations

from torch import Tensor

from polytask.kernel.solvers import correlate, solve_ones
from polytask.kernel.solvers.correlation import NOISE
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer


class IMTLG(Balancer):
    """The combination of the gradients that has the same projection on each of them.

    w with sum 1 and <d, g_t / |g_t|> equal for all t, d = Jᵀw (Liu et al. 2021,
    https://openreview.net/forum?id=IMPnRXEWpvr, section 3.1): w is proportional to
    S⁻¹ C⁺ 1, S the gradients' lengths and C their cosines. Weights may be negative from three
    tasks on, and d may then go against every task. With statistic='features' the gradients are
    those of the paper, of the representation.

    Cost: that of the statistic and one backward pass; no state. Zero gradients get weight 0.
    Heads are plain. Deviations: dependent gradients are met with the pseudo-inverse of C where
    the paper inverts a matrix (and official code fails), eigenvalues of C within the noise of
    float32 sums count as zero, and where the weights' sum vanishes (opposite gradients) all
    weights are 0. The paper's loss half is not part of it.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def decide(self, statistic: Statistic) -> Tensor:
        """S⁻¹ C⁺ 1, with sum 1."""
        known = correlate(statistic.need_gramian())
        weights = solve_ones(known.cosine) / known.size
        total = weights.sum()
        if bool(total.abs() <= NOISE * weights.abs().sum()):
            return known.spread(weights * 0)
        return known.spread(weights / total)

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The weights always sum to 1."""
        return 1.0
