"""Tasks in proportion to their data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._weights import known_sizes, power


class Proportional(Schedule):
    """Every task is drawn in proportion to its number of rows, p_i = N_i / sum N.

    As if all data sets were one, batch by batch: every row of every data set is seen equally often
    where the batches are of one size. Counts vary by chance; `shuffled_union` has them exact.

    >>> Proportional().probabilities(["a", "b"], {"a": 300, "b": 100}).tolist()
    [0.75, 0.25]
    """

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """N_i / sum N. Raises `UserError` when a size is not known."""
        return power("proportional", tasks, known_sizes("proportional", tasks, sizes), 1.0)
