"""The table that groups are chosen from: a column a group, a row a task."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Table:
    """Columns to choose from; gains are scaled to about [0, 1]."""

    gains: Array
    """[T, n]"""
    charges: Array
    """[n]"""
    costs: Array
    """[n]"""
    most: int
    budget: float
    """May be infinite."""
    step: float = 0.0
    """Values that differ, differ by at least this; 1 where columns are only counted."""

    def part(self, places: Places) -> Table:
        """Some of the columns."""
        return replace(
            self,
            gains=self.gains[:, places],
            charges=self.charges[places],
            costs=self.costs[places],
        )

    def value(self, chosen: Places) -> float:
        """What these columns are worth together; -inf where they leave out a task."""
        if not len(chosen):
            return -np.inf
        return float(self.gains[:, chosen].max(1).sum() - self.charges[chosen].sum())

    def wanted(self, chosen: Places) -> float:
        """What another answer must be worth to be better than these columns."""
        return self.value(chosen) + max(self.step - 1e-6, 0.0)
