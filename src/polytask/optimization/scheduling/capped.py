"""In proportion to the data, but only up to a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._weights import known_sizes, power


class Capped(Schedule):
    """Examples-proportional mixing with a limit, p_i in proportion to min(N_i, limit)^(1/T).

    A data set larger than the limit counts as if it had that many rows, so a huge one cannot crowd
    out the others: T5 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 3.5.2, where
    the artificial limit K was 2^16 to 2^21 and 2^19 the choice; the temperature acts on the
    limited sizes).

    Args:
        limit: rows, at least 1.
        temperature: T, above 0; 1 in the final models of the paper.

    Raises:
        UserError: an argument that cannot be.

    >>> Capped(limit=1000).probabilities(["a", "b"], {"a": 10**6, "b": 1000}).tolist()
    [0.5, 0.5]
    """

    paper = "Raffel et al. 2020"

    def __init__(self, limit: int = 2**19, temperature: float = 1.0) -> None:
        super().__init__()
        self.limit = number("limit of schedule capped", limit, 1)
        self.temperature = number("temperature of schedule capped", temperature, 0, above=True)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """min(N_i, limit)^(1/T) / sum. Raises `UserError` when a size is not known."""
        limited = known_sizes("capped", tasks, sizes).clamp(max=self.limit)
        return power("capped", tasks, limited, 1 / self.temperature)
