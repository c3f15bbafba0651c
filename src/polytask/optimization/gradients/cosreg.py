"""Gradients regularised to right angles."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.penalty import Gradients, penalty_gradients
from polytask.kernel.problem import as_cut, as_parameters, pose
from polytask.kernel.step import Given, Settings
from polytask.kernel.twice import rows_with_graph, twice_explained
from polytask.optimization.loss_weighting.linear import Linear

# The slope of a cosine holds 1 / |g|, which must stay a number of float32.
SMALLEST = 1e-30


class CosReg(Linear):
    """Fixed weights, and a term that turns the tasks' gradients to right angles.

    minimise sum_t w_t L_t + strength * sum over pairs cos(g_i, g_j)^2, with g_t the gradient of
    L_t on the last shared layer (M. Suteu & Y. Guo, "Regularizing Deep Multi-Task Networks using
    Orthogonal Gradients", 2019, https://arxiv.org/abs/1912.06844). The term is part of the
    objective: its own gradient, a second-order one, goes to trunk and heads alike, and it turns
    helpful gradients (cosine 1) to right angles as it does opposed ones.

    Cost: each task's walk of its head twice over, one of them with a graph for the second
    derivative, and two backward passes in place of one; no state. The heads and the layers that
    are read must be twice differentiable, the trunk below them need not be. A task with a zero
    gradient (no entry above 1e-30) has cosine 0 with every other. The slope of the term grows like
    1 / |g_t| as a task is fitted; clip gradients where that matters. Raises `UserError` where a
    second derivative is missing, and as `GradNorm` does where nothing is shared. The term depends
    on no unit of a loss, and does not change with transform='log'.

    The weights are fixed, so smooth and audit_every have nothing to act on and are refused;
    refresh_every spares the Gramian, which is there to look at (`step.gramian`), never the term.
    We know of no code of the authors. The default strength is ours, not the paper's, and small,
    as helpful gradients are turned too; a public re-implementation takes 10 times the mean over
    pairs, which is strength=10 for two tasks.

    Args:
        strength: factor on the sum over pairs, at least 0; 0 makes it `linear`.
        weights: task name to weight w_t; 1 for tasks that are not named. No cosine
            depends on them.
        depth: how many shared layers, counted from the heads, the gradients are of.
        options: those of every `Balancer`; `statistic` other than 'tail' takes the gradients on
            the representation or on all that is shared, which costs a walk of it a task.
    """

    statistic_kind = "gramian"

    def __init__(
        self,
        strength: float = 0.1,
        weights: Mapping[str, float] | None = None,
        depth: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(weights, depth=depth, **options)
        if not (isfinite(strength) and strength >= 0):
            raise UserError(f"strength of cosreg must be a number of at least 0, found {strength}.")
        if self.smooth or self.audit_every:
            raise UserError(
                "cosreg's weights are fixed, so smooth and audit_every have no meaning for it; "
                "leave them out."
            )
        self.strength = strength

    def gradients_beside(self, given: Given, settings: Settings) -> Gradients:
        """Those of strength * sum over pairs cos(g_i, g_j)^2, of the present tasks.

        None where a gradient is not finite and the step itself says so; under
        non_finite='skip_task' that task alone is left out, here as there.
        """
        problem = pose(given.losses, given.counts)
        if self.strength == 0 or len(problem) < 2:
            return []
        scaled = given.scaler is not None and given.scaler.is_enabled()
        with twice_explained("cosreg"):
            found = rows_with_graph(
                problem,
                settings.statistic,
                self.discovery,
                self.depth,
                shared=as_parameters(given.shared),
                cut=as_cut(given.features),
                loss_scale=float(given.scaler.get_scale()) if scaled else 1.0,
            )
            values = problem.values.isfinite().tolist()
            fine = [v and _is_finite(row) for v, row in zip(values, found, strict=True)]
            if not all(fine) and self.non_finite == "raise":
                return []
            # What is not finite is left out of the graph too: zero times its slopes would be NaN.
            rows = [row for row, ok in zip(found, fine, strict=True) if ok and row is not None]
            if len(rows) < 2:
                return []
            term = self.strength * squared_cosines(torch.stack(rows))
            # Gradients that depend on no parameter have a term without a slope.
            return penalty_gradients(term, given.scaler) if term.requires_grad else []


def squared_cosines(rows: Tensor) -> Tensor:
    """The sum over pairs of the squared cosines of the rows of [T, n], a scalar.

    A row without an entry above 1e-30 has cosine 0 with every other, and a slope of 0.
    """
    # Lengths are constants for a cosine: divided out first, so that no square underflows.
    peak = rows.detach().abs().amax(dim=1, keepdim=True)
    counts = peak > SMALLEST
    units = torch.where(counts, rows, 0) / torch.where(counts, peak, 1)
    gramian = units @ units.T
    squares = torch.where(counts[:, 0], gramian.diagonal(), 1)
    return (gramian.square() / (squares * squares[:, None])).triu(diagonal=1).sum()


def _is_finite(row: Tensor | None) -> bool:
    return row is None or bool(row.detach().isfinite().all())
