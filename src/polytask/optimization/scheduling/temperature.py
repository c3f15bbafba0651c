"""Tasks by a power of their data: between proportional and uniform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._weights import known_sizes, power


class Temperature(Schedule):
    """Every task is drawn in proportion to a power of its number of rows, p_i = N_i^alpha / sum.

    alpha = 1 is `proportional`, 0 is `uniform`; 1 / alpha is called the temperature. The default
    .75 is that of BAM (Clark et al. 2019, https://arxiv.org/abs/1907.04829); multilingual models
    use .2 to .7 (Arivazhagan et al. 2019, https://arxiv.org/abs/1907.05019).

    Args:
        alpha: the power, at least 0; .75 when neither is given.
        temperature: 1 / alpha, above 0; one of the two may be given.

    Raises:
        UserError: an argument that cannot be, or both.

    >>> p = Temperature(alpha=0.5).probabilities(["a", "b"], {"a": 10000, "b": 100})
    >>> [round(x, 6) for x in p.tolist()]
    [0.909091, 0.090909]
    """

    paper = "Clark et al. 2019"

    def __init__(self, alpha: float | None = None, temperature: float | None = None) -> None:
        super().__init__()
        if alpha is not None and temperature is not None:
            raise UserError(
                f"schedule temperature takes alpha or temperature (= 1 / alpha), found both: "
                f"{alpha!r} and {temperature!r}. Leave one out."
            )
        if temperature is not None:
            alpha = 1 / number("temperature of schedule temperature", temperature, 0, above=True)
        self.alpha = 0.75 if alpha is None else number("alpha of schedule temperature", alpha, 0)

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """N_i^alpha / sum. Raises `UserError` when a size is not known."""
        return power("temperature", tasks, known_sizes("temperature", tasks, sizes), self.alpha)
