"""Multiple-gradient descent."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.solvers import min_norm_point
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_word


class MGDA(Balancer):
    """The shortest vector in the hull of the gradients: it improves every task or is zero.

    w = argmin over the simplex of wᵀGw, d = Jᵀw, with <g_t, d> >= |d|² for every task
    (Désidéri 2012; Sener & Koltun 2018, https://arxiv.org/abs/1810.04650). With
    statistic='features' it is their MGDA-UB.

    Cost: that of the statistic and one backward pass; no state. The subproblem is solved
    exactly. Heads are plain, as in the paper's algorithm 1. Deviations of the official code,
    not followed here: it solves by Frank-Wolfe with a clipped step, and its heads take the
    weights too. A known weakness: the smallest gradient gets most of the weight.

    Args:
        normalization: of the gradients before the solve: 'none', 'l2' (unit length), 'loss'
            (divided by the loss) or 'loss+' (by loss times length). As in the official code
            the weights then act on the gradients as they are.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(
        self, normalization: Literal["none", "l2", "loss", "loss+"] = "none", **options: Any
    ) -> None:
        super().__init__(**options)
        check_word("normalization", normalization, ("none", "l2", "loss", "loss+"))
        self.normalization = normalization

    def decide(self, statistic: Statistic) -> Tensor:
        """The min-norm weights of the (normalised) gradients."""
        g = statistic.need_gramian()
        size = self._sizes(g, statistic)
        return min_norm_point(g / (size[:, None] * size[None, :]))

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The weights always sum to 1."""
        return 1.0

    def _sizes(self, g: Tensor, statistic: Statistic) -> Tensor:
        length = g.diagonal().clamp_min(0).sqrt()
        length = torch.where(length > 0, length, 1.0)
        losses = statistic.losses.to(g.dtype)
        if self.normalization.startswith("loss") and bool((losses <= 0).any()):
            raise UserError(
                f"normalization={self.normalization!r} divides by the losses, and one is not "
                "positive; use 'l2' or 'none'."
            )
        table = {"none": torch.ones_like(length), "l2": length, "loss": losses}
        return table.get(self.normalization, losses * length)
