"""Adaptive explicit schedule: tasks below their single-task score are drawn more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._scored import Scored
from polytask.optimization.scheduling._weights import normalised


class JeanExplicit(Scored):
    """Tasks are over-sampled by how far they fall short of their baseline.

    p_i in proportion to 1 / (min(1, S_i / b_i)^alpha + epsilon), with the validation score S_i and
    the baseline b_i, the score of single-task training: the explicit adaptive schedule of Jean,
    Firat and Johnson 2019, "Adaptive Scheduling for Multi-Task Learning"
    (https://arxiv.org/abs/1909.06434; the equation as recalled, the defaults ours). For errors the
    ratio is b_i / S_i; a score of the wrong sign counts as 0. Tasks that reach their baseline have
    the same weight; before its first score a task counts as one of them. No task weighs more than
    1 / epsilon. Cost: nothing beside the validation.

    Args:
        targets: the baselines, by task, in the metric's units; single-task scores by default.
        alpha: how strongly to over-sample, at least 0 (0 is `uniform`).
        epsilon: above 0.
        window: scores that are averaged.

    Raises:
        UserError: an argument that cannot be; in use, a task without a baseline.

    >>> j = JeanExplicit(targets={"a": 1.0, "b": 1.0}, alpha=1.0, epsilon=0.25)
    >>> j.observe(scores={"a": 1.2, "b": 0.375})
    >>> [round(p, 4) for p in j.probabilities(["a", "b"], {}).tolist()]
    [0.3333, 0.6667]
    """

    needs = ("scores",)
    paper = "Jean et al. 2019"

    def __init__(
        self,
        targets: Mapping[str, float] | None = None,
        alpha: float = 3.0,
        epsilon: float = 0.05,
        window: int = 1,
    ) -> None:
        super().__init__(targets, window)
        self.alpha = number("alpha of schedule jean_explicit", alpha, 0)
        self.epsilon = number("epsilon of schedule jean_explicit", epsilon, 0, above=True)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """1 / (min(1, S / b)^alpha + epsilon), divided by the sum."""
        ratios = [self.reached(task) for task in tasks]
        held = [1.0 if ratio is None else min(max(ratio, 0.0), 1.0) for ratio in ratios]
        weights = [1 / (ratio**self.alpha + self.epsilon) for ratio in held]
        return normalised("jean_explicit", tasks, torch.tensor(weights, dtype=torch.float64))
