"""Multi-task learning as a bargaining game."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.gradients._fair import FairBalancer
from polytask.optimization.gradients._preference import checked, shares


class NashMTL(FairBalancer):
    """The Nash bargaining solution: relative improvements of the tasks have the largest product.

    w > 0 with G w = 1/w, the unique minimiser of ½ wᵀGw - sum log w; d = Jᵀw (Navon et al.
    2022, https://arxiv.org/abs/2202.01017). |d|² = T whatever the gradients, and
    <g_t, d> = 1/w_t > 0. The direction does not change when a task's gradient is rescaled.
    With a preference p, of mean 1, it is the asymmetric solution G w = p/w: the product of the
    improvements to the powers p_t is largest (Shamsian et al. 2023,
    https://arxiv.org/abs/2301.13501); |d|² stays T.

    Cost: that of the statistic and one backward pass (the statistic only every `every` steps);
    no state but the kept weights. Solved by Newton's method to rounding. Zero gradients get
    weight 0; opposite gradients admit no solution, then MGDA's zero direction is taken and
    logged once. scale='sum' divides G by its Frobenius norm first, so that identical
    gradients get weights of 1. Heads are plain: the paper bargains over the shared parameters
    only. Deviations of the official code, not followed here: its heads take the weights too;
    it always divides G by its norm; it solves by 20 convex-concave rounds with an outside
    solver and keeps the old weights when that fails; and it clips all gradients to norm 1.

    Args:
        max_norm: when given, the weights are shrunk so that |Jᵀw| on the measured parameters
            is at most this (1 in the official code, which clips the gradients themselves).
            In the paper's scale |Jᵀw| is always sqrt(T).
        every: solve every so many steps and keep the weights in between; 1 by default.
        preference: task name to its bargaining power, relative to the others; equal when left
            out.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(
        self,
        max_norm: float | None = None,
        every: int | None = None,
        preference: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(every, **options)
        if max_norm is not None and not max_norm > 0:
            raise UserError(f"max_norm must be positive or None, found {max_norm}.")
        self.max_norm = max_norm
        self.preference = checked(preference)

    def relative(self, tasks: tuple[str, ...]) -> Tensor | None:
        """The preferences of the present tasks, with mean 1."""
        if self.preference is None:
            return None
        return shares(self.preference, tasks) * len(tasks)

    def decide(self, statistic: Statistic) -> Tensor:
        """The bargaining solution, clipped when `max_norm` is given."""
        weights = self.solve(statistic)
        if self.max_norm is None:
            return weights
        length = (weights @ statistic.need_gramian() @ weights).clamp_min(0).sqrt()
        return weights * (self.max_norm / max(float(length), self.max_norm))
