"""Auxiliary task reweighting for minimum-data learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.problem import Losses, as_parameters, pose
from polytask.kernel.shift import Closure
from polytask.kernel.solvers import nearest_mixture
from polytask.kernel.statistic import Statistic
from polytask.kernel.step import Given, Step
from polytask.optimization.base import check_range, check_word
from polytask.optimization.main_task._main import MainTask
from polytask.optimization.needs import missing
from polytask.optimization.simplex import project_to_simplex

SMOOTH = 0.9
EVERY = 20


class ARML(MainTask):
    """Helpers are mixed so that their gradients together are as near as possible to the main one.

    a = argmin |g_m - sum_k a_k g_k|² over a >= 0, sum a = K for K helpers, and the step is on
    L_m + sum_k a_k L_k (Shi, Hoffman, Saenko, Darrell & Xu 2020,
    https://arxiv.org/abs/2010.08244, algorithm 1): the helpers' likelihoods become a
    prior of the parameters that resembles the main task's own. The paper's objective is a mean
    over parameters and batches and only its Gramian is needed for it.

    solver='qp' solves the problem exactly on a running mean of the Gramian. It is kept for each
    set of present tasks, starts at the first Gramian (so the first answer is that of one batch)
    and keeps `smooth` of its past. solver='projected' is the paper's algorithm: every so many
    steps a <- projection of a + 2 lr (products with what is left of g_m), from a = 1; its step
    length has the unit of a squared gradient, where the exact answer is free of units.

    Know the geometry: because the weights sum to K whatever helps, mass that the useful helpers
    cannot take goes to short gradients and to orthogonal ones, so pure noise need not end lowest.
    A helper that pulls straight against the main task goes to 0 where the others can take the
    mass; where all of them are far too long, or overshoot the main gradient, its pull back is the
    smaller evil and it is given some. One helper alone has weight 1.

    A helper that is absent from a step keeps its weight, and K counts the present ones. A step
    without the main task's loss is on the helpers with the weights they had, unchanged.

    Cost: that of the statistic and one backward pass; with `every` = n it is measured in one of n
    steps. State: one number a task and the running Gramians. Heads take the weights, as in the
    paper, so the head of a helper with weight 0 rests. Deviations: the official code takes the
    gradients of all parameters but the last six tensors, builds a graph of second order that the
    gradient in a does not need, leaves the network where it is in the steps that move a, and
    shifts and clamps in place of the projection (projection='shift'). None of that is done here.

    Args:
        main: the main task's name, or its row; the first task by default.
        solver: 'qp' or 'projected'.
        lr: step length of 'projected'.
        every: decide every so many steps; by default 1 for 'qp' and 20 for 'projected'.
        smooth: share of its past that the running mean of the Gramian keeps; by default 0.9 for
            'qp' and 0 for 'projected'.
        projection: of 'projected': 'simplex', the nearest point, or 'shift', the official code's:
            subtract the mean excess, then clamp at 0, after which the sum may exceed K.
        noise: standard deviation of the Gaussian noise added to each parameter that two tasks
            share, after each optimizer step; then `after_step()` must be called. The paper samples
            the parameters by Langevin dynamics: under plain gradient descent of length e on a
            mean over n rows, that is noise = sqrt(2 e / n). With momentum or Adam, and in the
            official code (off by default, scaled by the root of each gradient), it is something
            else. Drawn from `generator`; every process of a group needs the same one.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"

    def __init__(
        self,
        main: str | int = 0,
        solver: Literal["qp", "projected"] = "qp",
        lr: float = 0.05,
        every: int | None = None,
        smooth: float | None = None,
        projection: Literal["simplex", "shift"] = "simplex",
        noise: float = 0.0,
        **options: Any,
    ) -> None:
        check_word("solver", solver, ("qp", "projected"))
        check_word("projection", projection, ("simplex", "shift"))
        check_range("lr", lr, 0)
        check_range("noise", noise, 0)
        if every is not None and "refresh_every" in options:
            raise UserError("every and refresh_every are one setting; pass only one of them.")
        exact = solver == "qp"
        if every is None:
            every = 1 if exact else EVERY
        options.setdefault("refresh_every", every)
        super().__init__(
            main, smooth=(SMOOTH if exact else 0.0) if smooth is None else smooth, **options
        )
        self.solver = solver
        self.lr = lr
        self.projection = projection
        self.noise = noise
        self._moved: dict[Tensor, None] = {}

    def decide(self, statistic: Statistic) -> Tensor:
        """1 for the main task, the mixture for its helpers."""
        g, tasks = statistic.need_gramian(), statistic.tasks
        row, at, helpers = self.apart(tasks)
        weights = torch.ones(len(g), dtype=g.dtype)
        if not helpers:
            return weights
        held = self.entry("weight", helpers, 1.0, g)
        if row is not None:
            held = self._mixture(g, row, at, held)
            self.store("weight", helpers, held)
        weights[at] = held
        return weights

    def _mixture(self, g: Tensor, row: int, at: list[int], held: Tensor) -> Tensor:
        """The helpers' new weights."""
        count = len(at)
        if self.solver == "qp":
            return nearest_mixture(g, row, float(count))
        moved = held + 2 * self.lr * (g[at, row] - g[at][:, at] @ held)
        if self.projection == "shift":
            return (moved + (count - moved.sum()) / count).clamp_min(0)
        return project_to_simplex(moved, float(count))

    def after_backward(self, given: Given, step: Step) -> None:
        """Remember which parameters the noise is for."""
        if self.noise:
            problem = pose(given.losses, given.counts)
            named = as_parameters(given.shared)
            shared = named or self.discovery.parameters(problem, "exact", depth=1)
            self._moved.update(dict.fromkeys(shared))

    def after_step(self) -> None:
        """Add the noise to the shared parameters."""
        super().after_step()
        moved, self._moved = self._moved, {}
        for parameter in moved:
            source = self.generator.device if self.generator is not None else parameter.device
            drawn = torch.randn(parameter.shape, generator=self.generator, device=source)
            parameter.data.add_(drawn.to(parameter), alpha=self.noise)

    def _check_needs(
        self, batches: Sequence[Losses], closure: Closure | None, validation: Closure | None
    ) -> None:
        if self.noise and self._since_step >= self.calls_per_step:
            raise missing("ARML with noise", "after_step")
        super()._check_needs(batches, closure, validation)
