"""One-way projection of helpers on the main task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.main_task._main import MainTask


class AGEM(MainTask):
    """Helpers lose what goes against the main task; the main gradient stays as it is.

    d = g_m + sum over helpers of g_a - min(0, <g_a, g_m>) / |g_m|² g_m: the projection of
    averaged gradient episodic memory (Chaudhry et al. 2019, https://arxiv.org/abs/1812.00420,
    eq. 11), which is PCGrad in one direction. <g_m, d> >= |g_m|² always.

    Cost: that of the statistic and one backward pass; no state. Heads are plain. Deviation:
    the paper projects a new task's gradient on that of the memory and steps along the
    projection alone; here the main task takes the memory's place and its own gradient is part
    of the step. In a step without the main task's loss, or where its gradient is zero, there
    is nothing to project on: the helpers' plain sum.

    Args:
        main: the main task's name, or its row; the first task by default.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(self, main: str | int = 0, **options: Any) -> None:
        super().__init__(main, **options)

    def decide(self, statistic: Statistic) -> Tensor:
        """1 for every helper; 1 and what the projections add for the main task."""
        g = statistic.need_gramian()
        weights = torch.ones(len(g), dtype=g.dtype)
        row = self.row(statistic.tasks)
        if row is not None and bool(g[row, row] > 0):
            weights[row] -= (g[row] / g[row, row]).clamp_max(0).sum()
        return weights
