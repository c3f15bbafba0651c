"""Random loss weighting."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_word


class RLW(Balancer):
    """Random weights at every step: the litmus test that a balancing method has to pass.

    w = softmax(z), z ~ N(0, I), or w ~ Dirichlet(1) (Lin et al. 2022,
    https://arxiv.org/abs/2111.10603). The weights sum to 1 and are 1/T on average.

    Cost: one backward pass, no state but the generator.

    Args:
        distribution: 'normal' (softmax of normals) or 'dirichlet'.
        options: those of every `Balancer`; `generator` makes it reproducible.
    """

    def __init__(
        self, distribution: Literal["normal", "dirichlet"] = "normal", **options: Any
    ) -> None:
        super().__init__(**options)
        check_word("distribution", distribution, ("normal", "dirichlet"))
        self.distribution = distribution

    def decide(self, statistic: Statistic) -> Tensor:
        """Fresh random weights."""
        shape = (len(statistic),)
        if self.distribution == "normal":
            z = torch.randn(shape, generator=statistic.generator, dtype=torch.float64)
            return torch.softmax(z, dim=0)
        uniform = torch.rand(shape, generator=statistic.generator, dtype=torch.float64)
        exponential = -torch.log1p(-uniform)
        return exponential / exponential.sum()

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """The weights always sum to 1."""
        return 1.0
