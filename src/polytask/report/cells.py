"""What the report's tables consist of, and cells that know why they are undefined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from polytask.report.numbers import (
    DASH,
    bracket,
    number,
    plus_minus,
    reason,
    said_undefined,
    signed,
)
from polytask.report.results import Style


@dataclass(frozen=True)
class Cell:
    """One cell. `value` is the number as it stands in the results, `note` a footnote's number."""

    text: str
    small: str = ""
    value: float | None = None
    title: str = ""
    note: int | None = None
    sign: str = ""
    tone: str = ""


NOTHING = Cell(DASH, tone="none")


@dataclass(frozen=True)
class Column:
    """A heading: text, a small second line, and what a pointer over it says."""

    text: str
    small: str = ""
    title: str = ""


@dataclass(frozen=True)
class Row:
    """A model and its cells."""

    label: str
    tags: tuple[str, ...]
    style: Style | None
    cells: tuple[Cell, ...]
    chosen: bool = False


@dataclass(frozen=True)
class Table:
    """Columns, rows and the caption that says how to read them."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass
class Footnotes:
    """Reasons in order of appearance, each once; numbered from 1."""

    reasons: list[str] = field(default_factory=list)

    def mark(self, why: str) -> int:
        """The number of the footnote that says `why`."""
        if why not in self.reasons:
            self.reasons.append(why)
        return self.reasons.index(why) + 1

    def undefined(self, value: Any) -> Cell:
        """The cell of a value that is not a number: a dash when it was not even measured."""
        if value is None:
            return NOTHING
        why = reason(value) or ""
        return Cell(said_undefined(value), title=why, note=self.mark(why), tone="none")

    def plain(self, value: Any, text: str) -> Cell:
        """A number shown as `text`."""
        found = number(value)
        return self.undefined(value) if found is None else Cell(text, value=found)

    def score(self, mean: Any, sd: Any, decimals: int) -> Cell:
        """A metric as mean ± sd."""
        found = number(mean)
        if found is None:
            return self.undefined(mean)
        return Cell(plus_minus(mean, sd, decimals), value=found)

    def gain(self, interval: Sequence[Any], decimals: int) -> Cell:
        """A gain in percent with its interval beneath."""
        mean, low, high = interval
        found = number(mean)
        if found is None:
            return self.undefined(mean)
        return Cell(signed(found, decimals), small=bracket(low, high, decimals), value=found)
