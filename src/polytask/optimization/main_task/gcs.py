"""Gradient cosine similarity between helpers and the main task."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import check_word
from polytask.optimization.main_task._main import MainTask


class GCS(MainTask):
    """A helper task counts only while its gradient points the main task's way.

    Unweighted: d = g_m + sum over helpers of g_a where cos(g_m, g_a) > 0; weighted:
    d = g_m + sum of max(0, cos(g_m, g_a)) g_a (Du et al. 2018,
    https://arxiv.org/abs/1812.02224, algorithms 1 and 2). Every step has <g_m, d> >= |g_m|²,
    so training converges to a critical point of the main loss. The weighted form is what later
    comparisons call cosine weighting.

    Cost: that of the statistic and one backward pass; no state. Heads are plain: a helper's
    head learns even where its weight is 0. At a cosine of exactly 0, and with a zero gradient,
    a helper counts nothing (the paper says cos >= 0; a public re-implementation says > 0).
    In a step without the main task's loss no helper has shown that it helps: all weights are 0,
    and a training leaves such a batch out and counts it.
    The cosine is over all measured parameters at once, not layer by layer.

    Args:
        main: the main task's name, or its row; the first task by default.
        form: 'unweighted' or 'weighted'.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"
    steps_without_main = False

    def __init__(
        self,
        main: str | int = 0,
        form: Literal["unweighted", "weighted"] = "unweighted",
        **options: Any,
    ) -> None:
        super().__init__(main, **options)
        check_word("form", form, ("unweighted", "weighted"))
        self.form = form

    def decide(self, statistic: Statistic) -> Tensor:
        """1 for the main task; 1 or the cosine for helpers that agree, else 0."""
        g = statistic.need_gramian()
        row = self.row(statistic.tasks)
        if row is None:
            return torch.zeros(len(g), dtype=g.dtype)
        if self.form == "unweighted":
            weights = (g[row] > 0).to(g.dtype)
        else:
            size = g.diagonal().clamp_min(0).sqrt()
            size = torch.where(size > 0, size, 1.0)
            weights = (g[row] / size[row] / size).clamp(0, 1)
        weights[row] = 1.0
        return weights
