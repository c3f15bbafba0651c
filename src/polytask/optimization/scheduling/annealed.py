"""From proportional at the beginning to nearly uniform at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._check import number
from polytask.optimization.scheduling._weights import known_sizes, power


class Annealed(Schedule):
    """The power of the data sizes falls from epoch to epoch, p_i = N_i^alpha_e / sum.

    alpha_e = first - (first - last) (e - 1) / (E - 1) for epoch e of E, so proportional in the
    first epoch and close to uniform in the last: 1 to .2 in projected attention layers (Stickland
    and Murray 2019, https://arxiv.org/abs/1902.02671, where alpha_e = 1 - .8 (e - 1) / (E - 1)).
    With a single epoch alpha is `first`; later epochs than E keep `last`.

    Args:
        first: alpha of the first epoch, at least 0.
        last: alpha of the last one, at least 0.

    Raises:
        UserError: an argument that cannot be; in use, an unknown number of epochs.

    >>> [round(Annealed().alpha_of(e, 5), 2) for e in (1, 2, 3, 4, 5)]
    [1.0, 0.8, 0.6, 0.4, 0.2]
    """

    paper = "Stickland and Murray 2019"

    def __init__(self, first: float = 1.0, last: float = 0.2) -> None:
        super().__init__()
        self.first = number("first of schedule annealed", first, 0)
        self.last = number("last of schedule annealed", last, 0)

    def alpha_of(self, epoch: int, epochs: int | None) -> float:
        """The power in an epoch. Raises `UserError` when the number of epochs is not known."""
        if epochs is None:
            raise UserError(
                "schedule annealed falls from the first epoch to the last and must know how many "
                "there are; found none. Say epochs=; the Trainer does it by itself."
            )
        if epochs <= 1:
            return self.first
        done = min(max(epoch - 1, 0) / (epochs - 1), 1.0)
        # So written, both ends are exact.
        return (1 - done) * self.first + done * self.last

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """N_i^alpha_e / sum. Raises `UserError` for an unknown size or number of epochs."""
        alpha = self.alpha_of(epoch, epochs)
        return power("annealed", tasks, known_sizes("annealed", tasks, sizes), alpha)
