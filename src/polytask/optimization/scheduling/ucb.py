"""Active sampling as a bandit: the task with the highest upper confidence bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._scored import Scored
from polytask.optimization.scheduling._weights import normalised


class UCB(Scored):
    """Always the task with the highest discounted upper confidence bound of what it still misses.

    j = argmax_i X_i / c_i + beta sqrt(1 / c_i), where after every step all X and c are multiplied
    by `discount` and the drawn task's get max(m_i, 0) and 1 on top, with m_i as in `active`: the
    UCB version UA4C of active sampling (Sharma et al. 2018, https://arxiv.org/abs/1702.06053; the
    equations as recalled, with discount .99). Deviation: m_i follows from the newest validation
    scores, not from the score of the episode just played. A task that was never drawn comes first;
    equal bounds are drawn at random. All other tasks have probability 0.

    Args:
        targets: by task, in the metric's units; single-task scores by default.
        beta: weight of the bonus for tasks that were drawn little, at least 0.
        discount: in (0, 1].
        window: scores that are averaged.

    Raises:
        UserError: an argument that cannot be; in use, a task without a target.

    >>> u = UCB(targets={"a": 1.0, "b": 1.0})
    >>> u.drawn("a")
    >>> u.probabilities(["a", "b"], {}).tolist()
    [0.0, 1.0]
    """

    needs = ("scores",)
    one_task = True
    paper = "Sharma et al. 2018"
    aliases = ("ua4c",)

    def __init__(
        self,
        targets: Mapping[str, float] | None = None,
        beta: float = 1.0,
        discount: float = 0.99,
        window: int = 10,
    ) -> None:
        super().__init__(targets, window)
        self.beta = number("beta of schedule ucb", beta, 0)
        self.discount = number("discount of schedule ucb", discount, 0, above=True, most=1)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """All of it on the highest bound, in equal parts where several are the highest."""
        bounds = [self.bound(task) for task in tasks]
        highest = max(bounds, default=0.0)
        return normalised("ucb", tasks, [float(bound == highest) for bound in bounds])

    def bound(self, task: str) -> float:
        """X / c + beta sqrt(1 / c); infinite for a task that was never drawn."""
        count = self.recall("count", task, 0.0)
        if count <= 0:
            return math.inf
        return self.recall("sum", task, 0.0) / count + self.beta * math.sqrt(1 / count)

    def drawn(self, task: str) -> None:
        """Discount all counts and sums, and add to those of the drawn task."""
        for known in (self.memory.get("count", {}), self.memory.get("sum", {})):
            for values in known.values():
                values[-1] *= self.discount
        gain = max(self.missing(task), 0.0)
        self.remember("count", task, self.recall("count", task, 0.0) + 1)
        self.remember("sum", task, self.recall("sum", task, 0.0) + gain)
