"""One task after another, in a cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.errors import UserError, unknown
from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._check import whole
from polytask.optimization.scheduling._weights import normalised


class RoundRobin(Schedule):
    """A fixed cycle of the tasks: each in turn, the same number of steps every time round.

    Dong, Wu, He, Yu and Wang 2015, "Multi-Task Learning for Multiple Language Translation"
    (https://aclanthology.org/P15-1166; the alternation as recalled). The cycle goes on from one
    epoch to the next. Small data sets are repeated and none is starved.

    Args:
        turns: how many steps in a row a task takes, one number or one by task; tasks that are not
            named take 1.

    Raises:
        UserError: a number below 1; in use, a task that does not exist.

    >>> RoundRobin({"a": 2}).order(["a", "b"], {"a": 9, "b": 9}, 5, epoch=1, seed=0)
    [0, 0, 1, 0, 0]
    """

    paper = "Dong et al. 2015"

    def __init__(self, turns: int | Mapping[str, int] = 1) -> None:
        super().__init__()
        if isinstance(turns, Mapping):
            turns = {
                str(task): whole(f"turns of {task!r} in schedule round_robin", number, 1)
                for task, number in turns.items()
            }
        else:
            whole("turns of schedule round_robin", turns, 1)
        self.turns = turns

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """The share of a cycle that each task has."""
        shares = torch.tensor([float(self._turns(task)) for task in tasks], dtype=torch.float64)
        return normalised("round_robin", tasks, shares)

    def order(
        self,
        tasks: Sequence[str],
        batches: Mapping[str, int | None],
        steps: int,
        epoch: int,
        seed: int,
    ) -> list[int] | None:
        """The cycle, from where it stood at the end of the epoch before."""
        if isinstance(self.turns, Mapping):
            for task in self.turns:
                if task not in batches:
                    raise unknown("task in turns of schedule round_robin:", task, batches)
        cycle = [place for place, task in enumerate(tasks) for _ in range(self._turns(task))]
        if not cycle:
            raise UserError("schedule round_robin: there is no task; expected at least one.")
        start = max(epoch - 1, 0) * steps
        return [cycle[(start + i) % len(cycle)] for i in range(steps)]

    def _turns(self, task: str) -> int:
        return self.turns.get(task, 1) if isinstance(self.turns, Mapping) else self.turns
