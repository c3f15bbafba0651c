"""How affinities of one table are written: they may be of any size, and share one power of ten."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import numpy as np

from polytask.relationships import Affinity
from polytask.report.numbers import TIMES, fixed, number, said_undefined, signed, superscript

_FAR = 4
"""The colours end at so many times the median size: one wild pair should not pale the others."""


@dataclass(frozen=True)
class Scale:
    """Numbers are shown in units of 10 to `power` with so many decimals."""

    power: int = 0
    decimals: int = 2
    signs: bool = True
    """Whether a plus sign is shown: where 0 means something."""
    low: float = 0.0
    high: float = 1.0
    """Where the colours end: of gains high = -low, else the smallest and the largest number."""
    cut: bool = False
    """Whether some numbers lie beyond these ends."""

    @property
    def unit(self) -> str:
        """'10⁻³', '' where numbers are shown as they are."""
        return f"10{superscript(self.power)}" if self.power else ""

    def text(self, value: object) -> str:
        """A number in this unit; what is none is said in a word."""
        found = number(value)
        if found is None:
            return said_undefined(value)
        write = signed if self.signs else fixed
        return write(found / 10.0**self.power, self.decimals)

    def full(self, value: object) -> str:
        """The same with its unit: '+2.4 × 10⁻³'."""
        said = self.text(value)
        return said if number(value) is None or not self.power else f"{said} {TIMES} {self.unit}"

    def error(self, value: float) -> str:
        """A standard error in this unit."""
        return f"±{fixed(value / 10.0**self.power, self.decimals)}"

    def shade(self, value: float) -> int:
        """How strong a number's colour is, 0 to 100."""
        if self.signs:
            return round(100 * min(1.0, abs(value) / self.high)) if self.high else 0
        width = self.high - self.low
        return round(100 * min(1.0, max(0.0, (value - self.low) / width))) if width else 100


def scale_of(affinity: Affinity, gains: bool) -> Scale:
    """The scale of a table: about two digits of its numbers, colours for all but wild ones."""
    values = off_diagonal(affinity)
    sizes = [abs(value) for value in values if value]
    largest, typical = (max(sizes), median(sizes)) if sizes else (1.0, 1.0)
    power = 0 if 0.01 <= typical < 1000 else _thousands(typical)
    decimals = _decimals(largest / 10.0**power, typical / 10.0**power)
    if not gains:
        ends = (min(values, default=0.0), max(values, default=0.0))
        return Scale(power, decimals, False, *ends)
    end = min(largest, _FAR * typical)
    return Scale(power, decimals, True, -end, end, end < largest)


def off_diagonal(affinity: Affinity) -> list[float]:
    """Every number that was measured of two different tasks."""
    values = affinity.values[~np.eye(len(affinity.tasks), dtype=bool)]
    known: Iterable[float] = values[~np.isnan(values)].tolist()
    return list(known)


def _decimals(largest: float, typical: float) -> int:
    """Two digits of the largest number, one more where most are much smaller."""
    fewest = max(0, 1 - math.floor(math.log10(largest)))
    return min(fewest + 1, max(fewest, 1 - math.floor(math.log10(typical))))


def _thousands(size: float) -> int:
    """The multiple of 3 that leaves `size` between 0.1 and 100."""
    return 3 * math.floor((math.log10(size) + 1) / 3)
