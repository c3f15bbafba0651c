"""Adaptive implicit schedule: tasks below their single-task score learn with a higher rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._scored import Scored
from polytask.optimization.scheduling._weights import known_sizes, power


class JeanImplicit(Scored):
    """Draws tasks by their data, and scales the learning rate of a step by how its task fares.

    rate_i = 1 + sign(M - S_i) min(gamma, (max_j S_j)^alpha |M - S_i|^beta), where S_i is task i's
    validation score as a share of its baseline (single-task training), and M their mean: the
    implicit adaptive schedule of Jean, Firat and Johnson 2019
    (https://arxiv.org/abs/1909.06434; the equation as recalled, the defaults ours). Drawing a weak
    task more often repeats its data, and where it is small over-fits; here it takes larger steps
    instead. Tasks are drawn with p_i in proportion to N_i^(1 / temperature).

    How it acts: the optimizer's learning rate is multiplied by `rates` in the steps on a task, the
    mean over the tasks of a step that has several. Scaling gradients, the paper's other version,
    would do next to nothing under Adam. The Trainer does it; a loop of one's own reads
    `Mixture.rate` after every batch. For errors S_i is baseline / error. Before its first score a
    task has rate 1. Cost: nothing beside the validation.

    Args:
        targets: the baselines, by task, in the metric's units; single-task scores by default.
        gamma: the most a rate may differ from 1, in [0, 1).
        alpha: power of the best share, at least 0.
        beta: power of the distance to the mean, at least 0.
        temperature: of the draws, above 0; 1 is proportional to the data.
        window: scores that are averaged.

    Raises:
        UserError: an argument that cannot be; in use, a task without a baseline, an unknown size.

    >>> j = JeanImplicit(targets={"a": 1.0, "b": 1.0}, beta=1.0)
    >>> j.observe(scores={"a": 1.0, "b": 0.8})
    >>> [round(rate, 6) for rate in j.rates(["a", "b"]).tolist()]
    [0.9, 1.1]
    """

    needs = ("scores",)
    paper = "Jean et al. 2019"

    def __init__(
        self,
        targets: Mapping[str, float] | None = None,
        gamma: float = 0.5,
        alpha: float = 1.0,
        beta: float = 0.5,
        temperature: float = 1.0,
        window: int = 1,
    ) -> None:
        super().__init__(targets, window)
        self.gamma = number("gamma of schedule jean_implicit", gamma, 0, most=0.999)
        self.alpha = number("alpha of schedule jean_implicit", alpha, 0)
        self.beta = number("beta of schedule jean_implicit", beta, 0)
        self.temperature = number(
            "temperature of schedule jean_implicit", temperature, 0, above=True
        )

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """N_i^(1 / temperature) / sum. Raises `UserError` when a size is not known."""
        known = known_sizes("jean_implicit", tasks, sizes)
        return power("jean_implicit", tasks, known, 1 / self.temperature)

    def rates(self, tasks: Sequence[str]) -> Tensor:
        """The rates of these tasks; best and mean are over all that have a score."""
        shares = {task: self._share(task) for task in self.memory.get("score", {})}
        if not shares:
            return torch.ones(len(tasks), dtype=torch.float64)
        best, mean = max(shares.values()), sum(shares.values()) / len(shares)
        found = []
        for name in tasks:
            own = [
                self._rate(shares[task], best, mean)
                for task in self.members(name)
                if task in shares
            ]
            found.append(sum(own) / len(own) if own else 1.0)
        return torch.tensor(found, dtype=torch.float64)

    def _rate(self, share: float, best: float, mean: float) -> float:
        gap = mean - share
        if gap == 0:
            return 1.0
        return 1 + math.copysign(min(self.gamma, best**self.alpha * abs(gap) ** self.beta), gap)

    def _share(self, task: str) -> float:
        """The score as a share of the baseline, in [0, 10]: an error of 0 would be infinite."""
        return min(max(self._reached_by(task) or 0.0, 0.0), 10.0)
