"""What a group costs: an encoder, and a head for each member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.errors import UserError, unknown
from polytask.relationships._choice import real_number

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearCosts:
    """A cost for each network and one for each task in it; called with groups [n, T]."""

    network: float
    tasks: Array
    """[T]"""

    def __call__(self, members: NDArray[np.bool_]) -> Array:
        return np.asarray(self.network + members @ self.tasks)

    def affordable(self, budget: float, alone: bool) -> int:
        """No more groups than this can be paid for; groups of one are allowed or not."""
        least = self.network + float(np.sort(self.tasks)[: 1 if alone else 2].sum())
        most = len(self.tasks)
        return most if least * most <= budget else int(budget / least + 1e-6)

    def partition(self, budget: float) -> int:
        """How many groups can be paid for that share the tasks out, each in one."""
        left = budget - float(self.tasks.sum())
        most = len(self.tasks)
        return most if self.network * most <= left else int(left / self.network + 1e-6)


def linear_costs(
    tasks: Sequence[str], network: float, each: float | Mapping[str, float] | None
) -> LinearCosts:
    """Costs as a person gives them. Raises `UserError` for what is none, or leaves out a task."""
    one = real_number(network, "network_cost", 0.0)
    if not isinstance(each, Mapping):
        both = 0.0 if each is None else real_number(each, "task_costs", 0.0)
        return LinearCosts(one, np.full(len(tasks), both))
    for name in each:
        if name not in tasks:
            raise unknown("task in task_costs:", name, tasks)
    if left := [task for task in tasks if task not in each]:
        raise UserError(f"task_costs: expected a cost for every task, found none for {left[0]!r}.")
    return LinearCosts(
        one, np.array([real_number(each[t], f"task_costs of {t!r}", 0.0) for t in tasks])
    )
