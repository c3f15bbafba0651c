"""Tasks whose loss has fallen least are drawn more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._weights import normalised


class LeastProgress(Schedule):
    """Tasks that have learned least are drawn more, p_i in proportion to (L_i(e) / L_i(1))^alpha.

    L_i(e) is the mean training loss of an epoch. The ratio is the inverse training rate of GradNorm
    (Chen et al. 2018, https://arxiv.org/abs/1711.02257, section 3.2), which there sets the size of
    gradients and here the odds of being drawn; the sampler is ours. Ratios have no units, so tasks
    may be measured in any. A task that is not drawn keeps its newest ratio; one without two epochs
    has ratio 1. Losses above 0 only. Cost: nothing.

    Args:
        alpha: how strongly to follow the ratios, at least 0 (0 is `uniform`).

    Raises:
        UserError: an argument that cannot be; in use, a negative loss.

    >>> s = LeastProgress()
    >>> s.observe(losses={"a": 2.0, "b": 100.0}, epoch=1)
    >>> s.observe(losses={"a": 0.5, "b": 75.0}, epoch=2)
    >>> s.probabilities(["a", "b"], {}).tolist()
    [0.25, 0.75]
    """

    needs = ("losses",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = number("alpha of schedule least_progress", alpha, 0)

    def observe(
        self,
        *,
        scores: Mapping[str, float] | None = None,
        losses: Mapping[str, float] | None = None,
        gramian: tuple[Sequence[str], Tensor] | None = None,
        epoch: int | None = None,
    ) -> None:
        """Keep the first and the newest loss of every task."""
        for task, loss in (losses or {}).items():
            if loss < 0:
                raise UserError(
                    f"schedule least_progress goes by ratios of losses, and that of {task!r} is "
                    f"{loss:g}; expected numbers of at least 0. Use another schedule."
                )
            if task not in self.memory.get("first", {}):
                self.remember("first", task, loss)
            self.remember("last", task, loss)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """The ratios to the power alpha, divided by their sum; alike when all losses are 0."""
        ratios = [[self._ratio(task) for task in self.members(name)] for name in tasks]
        weights = torch.tensor([sum(own) / len(own) for own in ratios], dtype=torch.float64)
        weights = weights**self.alpha
        if not bool(weights.sum() > 0):
            weights = torch.ones_like(weights)
        return normalised("least_progress", tasks, weights)

    def _ratio(self, task: str) -> float:
        first = self.recall("first", task, 0.0)
        return self.recall("last", task, 0.0) / first if first > 0 else 1.0
