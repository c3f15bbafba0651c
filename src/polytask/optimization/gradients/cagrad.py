"""Conflict-averse gradient descent."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.solvers import conflict_averse
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_word


class CAGrad(Balancer):
    """The direction near the mean gradient whose worst improvement of a task is best.

    max over d of min_t <g_t, d> subject to |d - g_0| <= c |g_0|, g_0 the mean gradient (Liu et
    al. 2021, https://arxiv.org/abs/2110.14048). Its dual is a convex problem in w on the
    simplex, w = argmin <g_w, g_0> + c |g_0| |g_w| with g_w = Jᵀw, and
    d = g_0 + c |g_0| g_w / |g_w|. c = 0 is the mean; c >= 1 hurts no task; as c grows the
    direction becomes MGDA's.

    Cost: that of the statistic and one backward pass; no state. The dual is solved exactly.
    Heads are plain. Where |g_w| = 0 the paper's d is not defined: the nearest d that hurts no
    task is taken then, which solves the same problem. Deviations of the official code, not
    followed here: it solves by SLSQP without gradients, adds 1e-8 to norms, and multiplies the
    mean by T in some of its experiments.

    Args:
        c: the radius relative to the mean gradient's length, at least 0 (the paper takes 0.4
            on NYUv2 and 0.2 to 0.5 on Cityscapes).
        rescale: divide d by nothing ('none', the paper), by '1+c' or by '1+c^2', as the
            official code offers (its default is the last).
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(
        self,
        c: float = 0.5,
        rescale: Literal["none", "1+c", "1+c^2"] = "none",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not 0 <= c < float("inf"):
            raise UserError(f"c must be at least 0 and finite, found {c}.")
        check_word("rescale", rescale, ("none", "1+c", "1+c^2"))
        self.c = c
        self.rescale = rescale

    def decide(self, statistic: Statistic) -> Tensor:
        """1/T + c |g_0| / |g_w| w, rescaled."""
        g = statistic.need_gramian()
        return (1 / len(g) + conflict_averse(g, self.c)) / self._divisor()

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """Equal gradients: d = (1 + c) g."""
        return (1 + self.c) / self._divisor()

    def _divisor(self) -> float:
        return {"none": 1.0, "1+c": 1 + self.c, "1+c^2": 1 + self.c**2}[self.rescale]
