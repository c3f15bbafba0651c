"""All of one task, then all of the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._weights import (
    batches_of_epoch,
    known_batches,
    known_sizes,
    normalised,
)


class Blocked(Schedule):
    """Every epoch takes all batches of the first task, then all of the second, and so on.

    The order is that in which the tasks are given. What was learned first is forgotten most by the
    end of an epoch, so this is the schedule to compare with rather than to use. Counts are exact:
    as many batches of each task as one pass over its data has, or in that proportion where an
    epoch is longer or shorter than that; what a short epoch has no room for comes in a later one.

    >>> Blocked().order(["a", "b"], {"a": 3, "b": 1}, 4, epoch=1, seed=0)
    [0, 0, 0, 1]
    """

    one_task = True

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """The share of an epoch that each task has, by rows."""
        return normalised("blocked", tasks, known_sizes("blocked", tasks, sizes))

    def order(
        self,
        tasks: Sequence[str],
        batches: Mapping[str, int | None],
        steps: int,
        epoch: int,
        seed: int,
    ) -> list[int] | None:
        """Each task's batches in a row."""
        counts = batches_of_epoch(known_batches("blocked", tasks, batches), steps, epoch)
        places = torch.arange(len(tasks)).repeat_interleave(torch.tensor(counts))
        found: list[int] = places.tolist()
        return found
