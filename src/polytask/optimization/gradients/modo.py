"""Multi-objective descent with double sampling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_range
from polytask.optimization.simplex import project_to_simplex


class MoDo(Balancer):
    """Multiple-gradient descent that stays unbiased on mini-batches, by sampling twice.

    w <- projection on the simplex of w - gamma (J1 J2ᵀ w + rho w), where J1 and J2 are the
    tasks' gradients on two independent batches, and the step is J3ᵀ w on a third one, with the
    new w (Chen et al. 2023, https://arxiv.org/abs/2305.20057, algorithm 1). The product of
    independent gradients has the full data's Gramian as its mean; that of one batch with
    itself is too large by the noise.

    Needs `backward([losses_1, losses_2, losses_3])`, all present tasks in each. Cost: twice
    that of the statistic, two forward passes and one backward pass; one number of state a task.
    Heads are plain. Each step moves w by gamma times squared gradients, so gamma depends on
    the losses' units; transform='log' removes them. Deviations of official code, not followed
    here: it steps on the sum of both batches, with a third only in its toy problem, and its
    rho is 0.1 by default; public code divides the sum of three batches' heads by three, here
    heads learn from the third alone. When only some tasks are present, the simplex is theirs
    and the others keep their share.

    Args:
        gamma: step length of the weights.
        rho: pull towards equal weights; 0 is the paper's algorithm.
        options: those of every `Balancer`.
    """

    statistic_kind = "cross"
    default_heads = "plain"
    needs = ("batches",)
    batches = 3

    def __init__(self, gamma: float = 0.001, rho: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        check_range("gamma", gamma, 0)
        check_range("rho", rho, 0)
        self.gamma = gamma
        self.rho = rho

    def decide(self, statistic: Statistic) -> Tensor:
        """The weights after one projected step; they sum to 1."""
        cross = statistic.need_cross()
        # Masses sum to the number of tasks ever seen, so a newcomer enters with a fair share.
        mass = self.entry("mass", statistic.tasks, 1.0, cross)
        total = mass.sum()
        count = len(statistic)
        w = mass / total if bool(total > 0) else torch.full_like(mass, 1 / count)
        w = project_to_simplex(w - self.gamma * (cross @ w + self.rho * w))
        self.store("mass", statistic.tasks, w * total)
        return w

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The weights always sum to 1."""
        return 1.0
