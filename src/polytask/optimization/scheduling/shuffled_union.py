"""All batches of all tasks, shuffled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._weights import (
    batches_of_epoch,
    known_batches,
    known_sizes,
    normalised,
)

STREAM = 1
"""Keeps the numbers drawn here apart from those that others draw from the same seed and epoch."""


class ShuffledUnion(Schedule):
    """Every epoch takes all batches of all tasks, one task a batch, in a new random order.

    The loader of MT-DNN (Liu, He, Chen and Gao 2019, https://arxiv.org/abs/1901.11504, algorithm
    1): the batches of all data sets are put into one list, which is shuffled. The same shares as
    `proportional` with exact counts: every row is seen once an epoch. Where an epoch is longer or
    shorter than one pass over all data, counts are in that proportion, and what a short epoch has
    no room for comes in a later one.

    >>> order = ShuffledUnion().order(["a", "b"], {"a": 3, "b": 1}, 4, epoch=1, seed=0)
    >>> sorted(order)
    [0, 0, 0, 1]
    """

    one_task = True
    paper = "Liu et al. 2019"
    aliases = ("mt_dnn",)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """The share of an epoch that each task has, by rows."""
        return normalised("shuffled_union", tasks, known_sizes("shuffled_union", tasks, sizes))

    def order(
        self,
        tasks: Sequence[str],
        batches: Mapping[str, int | None],
        steps: int,
        epoch: int,
        seed: int,
    ) -> list[int] | None:
        """The list of all batches, shuffled by the seed and the epoch."""
        counts = batches_of_epoch(known_batches("shuffled_union", tasks, batches), steps, epoch)
        listed = np.repeat(np.arange(len(tasks)), counts)
        generator = np.random.default_rng([seed, max(epoch, 0), STREAM])
        return [int(place) for place in generator.permutation(listed)]
