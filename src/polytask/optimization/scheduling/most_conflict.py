"""Tasks whose gradients fight with the others' are drawn more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._weights import normalised


class MostConflict(Schedule):
    """Tasks in conflict with the others are drawn more, by the cosines of their gradients.

    p_i = floor / T + (1 - floor) c_i / sum c, with c_i = sum over the other tasks j of
    max(0, -cos_ij) and cos_ij a running mean of the cosine between the gradients of i and j. The
    sampler is ours; conflict as a negative cosine is that of PCGrad (Yu et al. 2020,
    https://arxiv.org/abs/2001.06782). A task that the others undo needs more steps to get anywhere.
    Without a conflict all tasks are alike.

    It reads Gramians that balancing computes anyway, so it needs steps of several tasks and a
    method that reads gradients (`mgda`, `pcgrad`, ...). Cosines of one batch are mostly noise: the
    running mean is long. Cost: nothing beside that method.

    Args:
        floor: the share that is drawn uniformly, in (0, 1].
        decay: share of the past in the running means, in [0, 1).

    Raises:
        UserError: an argument that cannot be.

    >>> m = MostConflict()
    >>> gramian = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> m.observe(gramian=(["a", "b", "c"], gramian))
    >>> [round(p, 4) for p in m.probabilities(["a", "b", "c"], {}).tolist()]
    [0.4667, 0.4667, 0.0667]
    """

    needs = ("gramian",)

    def __init__(self, floor: float = 0.2, decay: float = 0.99) -> None:
        super().__init__()
        self.floor = number("floor of schedule most_conflict", floor, 0, above=True, most=1)
        self.decay = number("decay of schedule most_conflict", decay, 0, most=0.9999)

    def observe(
        self,
        *,
        scores: Mapping[str, float] | None = None,
        losses: Mapping[str, float] | None = None,
        gramian: tuple[Sequence[str], Tensor] | None = None,
        epoch: int | None = None,
    ) -> None:
        """Move the running mean of every pair in the Gramian; zero gradients are no news."""
        if gramian is None:
            return
        tasks, table = gramian
        table = table.detach().double().cpu()
        norms = table.diagonal().clamp(min=0).sqrt()
        for i, one in enumerate(tasks):
            for j in range(i):
                size = float(norms[i] * norms[j])
                if size > 0:
                    self._move(_pair(one, tasks[j]), float(table[i, j]) / size)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """A uniform share, and the rest by conflict."""
        conflict = [self._conflict(name, tasks) for name in tasks]
        even = normalised("most_conflict", tasks, torch.ones(len(tasks), dtype=torch.float64))
        if not sum(conflict) > 0:
            return even
        return self.floor * even + (1 - self.floor) * normalised("most_conflict", tasks, conflict)

    def _conflict(self, name: str, tasks: Sequence[str]) -> float:
        """Negative cosines of the tasks of a name with those of all others, the mean over its."""
        own = self.members(name)
        others = {task for other in tasks for task in self.members(other)} - set(own)
        # In one order, as sums of floats depend on it.
        pairs = [_pair(task, other) for task in own for other in sorted(others)]
        return sum(max(0.0, -self.recall("cosine", pair, 0.0)) for pair in pairs) / len(own)

    def _move(self, pair: str, cosine: float) -> None:
        """A mean over the first measurements, then one that forgets."""
        seen = self.recall("seen", pair, 0.0) + 1
        past = min(self.decay, 1 - 1 / seen)
        self.remember("seen", pair, seen)
        before = self.recall("cosine", pair, 0.0)
        self.remember("cosine", pair, past * before + (1 - past) * cosine)


def _pair(one: str, other: str) -> str:
    """One key for both orders, whatever letters the names have."""
    return json.dumps(sorted((one, other)))
