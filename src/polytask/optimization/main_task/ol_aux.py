"""Online learning for auxiliary losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import check_range
from polytask.optimization.main_task._main import MainTask


class OLAux(MainTask):
    """A helper's weight grows while its gradient has lately pointed the main task's way.

    The step is on L_m + sum_k w_k L_k. Every N steps w_k <- w_k + lr inner_lr sum <g_m, g_k>, the
    sum over the last N steps: the slope by w_k of what those steps did to the main loss (Lin,
    Baweja, Kantor & Held 2019,
    https://papers.nips.cc/paper/2019/hash/0e900ad84f63618452210ab8baae0218-Abstract.html,
    algorithm 1).

    The products have the unit of a squared gradient, so the same lr learns faster on longer
    gradients and w follows the helpers' lengths as well as their directions; this is the paper's
    rule, and transform='log' removes the losses' units. An orthogonal helper keeps its weight.

    A helper that is absent from a step adds nothing to its sum, and keeps its weight. A step
    without the main task's loss has no products: it is on the helpers with the weights they have
    and is not one of the N.

    Cost: that of the statistic and one backward pass; two numbers of state a task. Heads take the
    weights, as in the paper. Deviations: weights stop at 0, as in a public re-implementation
    (clamp=False lets them go negative, as the paper's rule does); that one takes a single product
    every 20 steps, with lr 0.05, where the paper sums N.

    Args:
        main: the main task's name, or its row; the first task by default.
        lr: step length of the weights.
        inner_lr: the network's learning rate, which the paper's slope holds as a factor; 1 leaves
            it to lr, as public code does.
        every: N, the horizon in steps.
        initial: starting value of every weight.
        clamp: keep weights at 0 or above.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"

    def __init__(
        self,
        main: str | int = 0,
        lr: float = 0.05,
        inner_lr: float = 1.0,
        every: int = 5,
        initial: float = 1.0,
        clamp: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(main, **options)
        check_range("lr", lr, 0)
        check_range("inner_lr", inner_lr, 0)
        check_range("every", every, 1)
        check_range("initial", initial, 0)
        self.lr = lr
        self.inner_lr = inner_lr
        self.every = every
        self.initial = initial
        self.clamp = clamp

    def decide(self, statistic: Statistic) -> Tensor:
        """1 for the main task and the current weights of its helpers, which may move after."""
        g, tasks = statistic.need_gramian(), statistic.tasks
        row, at, helpers = self.apart(tasks)
        weights = torch.ones(len(g), dtype=g.dtype)
        if not helpers:
            return weights
        weights[at] = self.entry("weight", helpers, self.initial, g)
        if row is not None:
            self.store("sum", helpers, self.entry("sum", helpers, 0.0, g) + g[at, row])
            if (self._count("products") + 1) % self.every == 0:
                self._move()
        return weights

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The sum of the weights at the start."""
        main = self.main in tasks if isinstance(self.main, str) else self.main < len(tasks)
        return main + self.initial * (len(tasks) - main)

    def _move(self) -> None:
        """Step the weights of all helpers seen since the last move; their sums start anew."""
        seen = [task for name, task in self.table if name == "sum"]
        for task in seen:
            moved = self.table["weight", task] + self.lr * self.inner_lr * self.table["sum", task]
            self.table["weight", task] = moved.clamp_min(0) if self.clamp else moved
            del self.table["sum", task]
