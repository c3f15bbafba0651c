"""Linear scalarisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer


class Linear(Balancer):
    """Fixed weights: the weighted sum of the losses; equal weights are the baseline to beat.

    minimise sum_t w_t L_t. Tuned equal weights equal most elaborate methods in re-evaluations
    (Kurin et al. 2022, https://arxiv.org/abs/2201.04122; Xin et al. 2022,
    https://arxiv.org/abs/2209.11379), so no comparison is complete without them.

    Cost: one backward pass, no state.

    Args:
        weights: task name to weight; 1 for tasks that are not named.
        options: those of every `Balancer`.
    """

    aliases = ("equal",)

    def __init__(self, weights: Mapping[str, float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.fixed = {task: float(weight) for task, weight in (weights or {}).items()}
        if not all(torch.isfinite(torch.tensor(w)) for w in self.fixed.values()):
            raise UserError(f"weights of linear must be finite numbers, found {self.fixed}.")

    def decide(self, statistic: Statistic) -> Tensor:
        """The fixed weights, in the order of the present tasks."""
        held = [self.fixed.get(task, 1.0) for task in statistic.tasks]
        return torch.tensor(held, dtype=statistic.losses.dtype)

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The sum of the fixed weights."""
        total = sum(self.fixed.get(task, 1.0) for task in tasks)
        if total == 0:
            raise UserError("scale='sum' needs weights that do not sum to zero.")
        return total
