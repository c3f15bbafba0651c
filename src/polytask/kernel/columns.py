"""Which numbers of which parameters the columns of a Jacobian are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Columns:
    """A run of columns: all numbers of a parameter, or those of some of its units."""

    parameter: Tensor
    units: Tensor | None = None
    """The rows that are read, in this order; None for all."""
    turned: bool = False
    """Whether the units are the parameter's columns in place of its rows."""

    def of(self, values: Tensor) -> Tensor:
        """The entries, flat and in the columns' order, of a tensor shaped as the parameter."""
        if self.turned:
            values = values.t()
        chosen = values if self.units is None else values.index_select(0, self.units)
        return chosen.reshape(-1)
