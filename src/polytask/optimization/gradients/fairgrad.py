"""Fair resource allocation between tasks."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.gradients._fair import FairBalancer


class FairGrad(FairBalancer):
    """Alpha-fair improvements: from the largest sum (alpha 0) to the best worst case (infinity).

    w > 0 with G w = w^(-1/alpha), the unique minimiser of ½ wᵀGw - sum U(w), U' = w^(-1/alpha);
    d = Jᵀw (Ban & Ji 2024, https://arxiv.org/abs/2402.15638, eq. 4). Improvements
    <g_t, d> = w_t^(-1/alpha) are positive. alpha = 1 is Nash-MTL (proportional fairness),
    alpha = 2 the least potential delay. Multiplying all gradients by c multiplies d by
    c^((1-alpha)/(1+alpha)).

    Cost: that of the statistic and one backward pass; no state. Solved by Newton's method to
    rounding. Zero gradients get weight 0; opposite gradients admit no solution, then MGDA's
    zero direction is taken and logged once. scale='sum' divides G by its Frobenius norm first,
    so that identical gradients get weights of 1. Heads are plain: the paper allocates shared
    parameters only. Deviations of the official code, not followed here: its heads take the
    weights too, and it solves by bounded non-linear least squares from equal weights, which
    may stop early.

    Args:
        alpha: in (0, 30]; how much the least improved tasks count. Beyond, the equations are
            too steep for float64, and MGDA is as good as the limit.
        every: solve every so many steps and keep the weights in between; 1 by default.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(self, alpha: float = 1.0, every: int | None = None, **options: Any) -> None:
        super().__init__(every, **options)
        if not 0 < alpha <= 30:
            raise UserError(
                f"alpha must be positive and at most 30, found {alpha}; for the best worst case "
                "(alpha to infinity) use 'mgda', for the plain sum (alpha 0) 'linear'."
            )
        self.alpha = alpha
        self.power = 1 / alpha

    def decide(self, statistic: Statistic) -> Tensor:
        """The alpha-fair weights."""
        return self.solve(statistic)
