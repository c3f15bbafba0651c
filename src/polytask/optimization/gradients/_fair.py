"""What Nash-MTL and FairGrad share: one solver, one way out when there is no solution."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.solvers import fair_weights, min_norm_point
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer

LOG = logging.getLogger("polytask")


class FairBalancer(Balancer):
    """Weights w with G w = p w^-power, p = 1 but for Nash-MTL's preference.

    scale='sum' solves for G divided by its Frobenius norm, as the official code of Nash-MTL
    does: weights of identical gradients are then 1 each, and the step shrinks with the
    gradients. No constant could do that, since w itself depends on the gradients' length.
    """

    statistic_kind = "gramian"
    default_heads = "plain"
    power = 1.0

    def __init__(self, every: int | None = None, **options: Any) -> None:
        if every is not None:
            if "refresh_every" in options:
                raise UserError("every and refresh_every are one setting; pass only one of them.")
            options["refresh_every"] = every
        super().__init__(**options)
        self._warned = False

    def relative(self, tasks: tuple[str, ...]) -> Tensor | None:
        """p of the present tasks, with mean 1; None when all are equal."""
        return None

    def solve(self, statistic: Statistic) -> Tensor:
        """The fair weights; MGDA's, whose direction is zero, where there are none."""
        g = statistic.need_gramian()
        size = g.norm()
        if self.scale == "sum" and bool(size > 0):
            g = g / size
        weights = fair_weights(g, self.power, self.relative(statistic.tasks))
        if weights is not None:
            return weights
        if not self._warned:
            self._warned = True
            LOG.warning(
                "%s: a convex combination of the tasks' gradients is zero (opposite gradients), "
                "so no weights satisfy its equations; the shared parameters get MGDA's "
                "direction, zero, in such steps. This is said once.",
                type(self).__name__,
            )
        return min_norm_point(g)
