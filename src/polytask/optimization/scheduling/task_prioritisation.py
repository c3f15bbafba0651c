"""Dynamic task prioritisation as a sampler: hard tasks are drawn more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._scored import Scored
from polytask.optimization.scheduling._weights import normalised

EDGE = 1e-3
"""A KPI of 1 would never be drawn again, one of 0 would be drawn alone."""


class TaskPrioritisation(Scored):
    """Difficult tasks are drawn more: p_i in proportion to the focal loss of their KPI.

    FL(k; gamma) = -(1 - k)^gamma log k, with k_i in (0, 1) a running mean of the key performance
    indicator, k <- decay k + (1 - decay) KPI: dynamic task prioritisation (Guo, Haque, Huang, Yeung
    and Fei-Fei 2018, https://doi.org/10.1007/978-3-030-01270-0_17; the equations as recalled). Its
    weights multiply losses in the paper; here they are the odds of being drawn, which has the same
    mean gradient. The KPI of a task with a target is score / target (for errors target / error), at
    most 1; without one the score itself, which must lie in 0 to 1, as an accuracy does. KPIs are
    held in .001 to .999, so no task is drawn never or alone. Before its first score a task
    counts as the hardest that is known. Cost: nothing beside the validation.

    Args:
        targets: by task, in the metric's units; single-task scores by default.
        gamma: focus on the difficult, at least 0.
        decay: share of the past in the running mean, in [0, 1).

    Raises:
        UserError: an argument that cannot be; in use, a score outside 0 to 1 without a target.

    >>> d = TaskPrioritisation()
    >>> d.observe(scores={"a": 0.9, "b": 0.5})
    >>> [round(p, 4) for p in d.probabilities(["a", "b"], {}).tolist()]
    [0.0295, 0.9705]
    """

    needs = ("scores",)
    paper = "Guo et al. 2018"
    aliases = ("dtp",)

    def __init__(
        self,
        targets: Mapping[str, float] | None = None,
        gamma: float = 1.0,
        decay: float = 0.5,
    ) -> None:
        super().__init__(targets, 1)
        self.gamma = number("gamma of schedule task_prioritisation", gamma, 0)
        self.decay = number("decay of schedule task_prioritisation", decay, 0, most=0.999)

    def observe(
        self,
        *,
        scores: Mapping[str, float] | None = None,
        losses: Mapping[str, float] | None = None,
        gramian: tuple[Sequence[str], Tensor] | None = None,
        epoch: int | None = None,
    ) -> None:
        """Move the running means of the KPIs."""
        for task, score in (scores or {}).items():
            kpi = self._kpi(task, score)
            before = self.recall("kpi", task, kpi)
            self.remember("kpi", task, self.decay * before + (1 - self.decay) * kpi)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """The focal losses, divided by their sum."""
        hardest = min((values[-1] for values in self.memory.get("kpi", {}).values()), default=0.5)
        weights = []
        for name in tasks:
            own = [self._focal(self.recall("kpi", task, hardest)) for task in self.members(name)]
            weights.append(sum(own) / len(own))
        return normalised("task_prioritisation", tasks, weights)

    def _focal(self, kpi: float) -> float:
        held = min(max(kpi, EDGE), 1 - EDGE)
        return -((1 - held) ** self.gamma) * math.log(held)

    def _kpi(self, task: str, score: float) -> float:
        if task in self.targets or task in self._references:
            self.remember("score", task, score)
            return min(max(self._reached_by(task) or 0.0, 0.0), 1.0)
        if not 0 <= score <= 1:
            raise UserError(
                f"schedule task_prioritisation: the score {score:g} of {task!r} is no share, "
                f"between 0 and 1. Say targets={{{task!r}: ...}}, which it is then compared with."
            )
        return score
