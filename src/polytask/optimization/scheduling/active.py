"""Active sampling: tasks far from their target are drawn more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._scored import Scored


class Active(Scored):
    """Tasks are drawn by how far they are from their target, p = softmax(m / tau).

    m_i = (target_i - s_i) / target_i with s_i the mean of the newest `window` scores: active
    sampling A5C (Sharma, Jha, Hegde and Ravindran 2018, "Learning to Multi-Task by Active
    Sampling", https://arxiv.org/abs/1702.06053; the equations as recalled, with tau .05 and n 10).
    There s_i are the scores of episodes of the games that were drawn; here validation scores, which
    all tasks have at the end of every epoch. For errors, where less is better, m_i =
    (s_i - target_i) / target_i. Before its first score a task has m = 0, so all are alike at first.
    tau .05 is strict: a task that misses 20 % more of its target than another is drawn 55 times as
    often. Cost: nothing beside the validation.

    Args:
        targets: by task, in the metric's units; single-task scores by default.
        tau: temperature of the softmax, above 0.
        window: scores that are averaged.

    Raises:
        UserError: an argument that cannot be; in use, a task without a target.

    >>> a = Active(targets={"a": 1.0, "b": 1.0})
    >>> a.observe(scores={"a": 0.9, "b": 0.8})
    >>> [round(p, 4) for p in a.probabilities(["a", "b"], {}).tolist()]
    [0.1192, 0.8808]
    """

    needs = ("scores",)
    paper = "Sharma et al. 2018"
    aliases = ("a5c", "active_sampling")

    def __init__(
        self, targets: Mapping[str, float] | None = None, tau: float = 0.05, window: int = 10
    ) -> None:
        super().__init__(targets, window)
        self.tau = number("tau of schedule active", tau, 0, above=True)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """softmax(m / tau)."""
        behind = torch.tensor([self.missing(task) for task in tasks], dtype=torch.float64)
        return torch.softmax(behind / self.tau, dim=0)
