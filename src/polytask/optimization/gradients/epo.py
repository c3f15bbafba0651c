"""Exact Pareto optimal search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.solvers import best_on_simplex, min_norm_point
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer
from polytask.optimization.gradients._preference import checked, shares
from polytask.optimization.loss_weighting._losses import need_positive

ROUNDING = 1e-12
EPSILON = torch.finfo(torch.float64).eps


class EPO(Balancer):
    """To the one trade-off at which preference times loss is the same for every task.

    With l̂ = r∘l / <r, l>, r the preference and l the losses, the imbalance is μ = sum l̂ log(T l̂)
    and Jᵀa, a = r∘(log(T l̂) - μ), goes straight against it; <a, l> = 0. The weights w are on the
    simplex (Mahapatra & Rajan 2020, https://proceedings.mlr.press/v119/mahapatra20a.html,
    algorithm 1):

    - balance (μ > eps): the largest aᵀGw such that tasks that Jᵀa would hurt are hurt no more
      than by it and the task of largest r_t l_t is not hurt at all; when it would help nobody,
      such that nobody is hurt;
    - dominance (else): the largest sum of G w such that nobody is hurt and, unless `relax`, the
      imbalance does not grow.

    A task with twice the preference ends with half the loss, on any front, convex or not, as far
    as the front reaches there. The trade-off is one of loss values: bring losses of different
    units to one scale first (`Task` standardises regression targets).

    Cost: that of the statistic, one backward pass and a linear program of T weights, solved
    exactly; no state. Losses must not be negative; one of 0 counts as rounding of their sum. The
    weights sum to 1 (official training code multiplies by T: scale='sum'). They are a vertex: some
    are usually 0, so heads are plain, which keeps those of such tasks learning; official code
    gives heads the weights too. Deviations, where the linear program has no solution: the
    imbalance's row is dropped, and MGDA's weights, which hurt nobody, are the last resort;
    official code takes the preferences as weights then. The official search scales its steps by
    μ, here the optimizer does.

    Args:
        preference: task name to r_t, positive, relative to the others; equal when left out.
        eps: the imbalance below which steps descend; 1e-4 in the official code.
        relax: let descending steps move along the front, away from the balance.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(
        self,
        preference: Mapping[str, float] | None = None,
        eps: float = 1e-4,
        relax: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not 0 < eps < float("inf"):
            raise UserError(f"eps of epo must be positive and finite, found {eps}.")
        if self.transform == "log":
            raise UserError(
                "epo compares the losses themselves, and their logarithms have any sign; leave "
                "transform='log' out."
            )
        self.preference = checked(preference)
        self.eps = eps
        self.relax = relax

    def decide(self, statistic: Statistic) -> Tensor:
        """The answer of the linear program of this step's mode."""
        need_positive("epo", statistic.tasks, statistic.losses, zero=True)
        g = statistic.need_gramian()
        largest = g.diagonal().max()
        if not bool(largest > 0):
            return torch.full_like(g[0], 1 / len(g))  # nothing to choose between
        g = g / largest
        weighted = shares(self.preference, statistic.tasks) * statistic.losses.double()
        imbalance, a = adjustment(weighted, shares(self.preference, statistic.tasks))
        pull = g @ a
        nobody = torch.zeros_like(pull)
        if imbalance > self.eps:
            found = best_on_simplex(pull, g, _allowed(pull, weighted))
        else:
            found = None
            if not self.relax:
                rows = torch.cat([g, pull[None]])
                found = best_on_simplex(
                    g.sum(dim=0), rows, torch.cat([nobody, pull.max().clamp_max(0)[None]])
                )
            if found is None:
                found = best_on_simplex(g.sum(dim=0), g, nobody)
        return min_norm_point(g) if found is None else found

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The weights always sum to 1."""
        return 1.0


def adjustment(weighted: Tensor, preference: Tensor) -> tuple[float, Tensor]:
    """The imbalance μ of r∘l, shape [T], and a, which is along μ's gradient by the losses."""
    total = weighted.sum()
    count = len(weighted)
    share = weighted / total if bool(total > 0) else torch.full_like(weighted, 1 / count)
    log = torch.log(count * share.clamp_min(EPSILON))
    log = torch.where(log.abs() > ROUNDING, log, 0.0)
    imbalance = (share * log).sum()
    return float(imbalance), preference * (log - imbalance)


def _allowed(pull: Tensor, weighted: Tensor) -> Tensor:
    """The least gain of every task in a balancing step; minus infinity for no limit."""
    helped = pull > 0
    if not bool(helped.any()):
        return torch.zeros_like(pull)
    least = torch.where(helped, -float("inf"), pull)
    return torch.where(weighted == weighted.max(), 0.0, least)
