"""Every task alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._weights import normalised


class Uniform(Schedule):
    """Every task is drawn with the same probability, p_i = 1 / T, however much data it has.

    The limit alpha = 0 of `temperature`. With very unequal data sets the small ones are seen many
    times over while the large ones are seen in part.

    >>> Uniform().probabilities(["a", "b"], {"a": 100, "b": 1}).tolist()
    [0.5, 0.5]
    """

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """1 / T each."""
        return normalised("uniform", tasks, torch.ones(len(tasks), dtype=torch.float64))
