"""Numbers by two tasks as a heat map: correlations, cosines, shares of a mixture or of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polytask.report.names import columns, short
from polytask.report.numbers import MINUS, fixed, number, signed
from polytask.report.results import mapping

WITH_TEXT = 14
"""Up to this many tasks a cell holds its number; beyond, a pointer tells it."""
_HEADING = 19  # columns of a heading that stands on end
_LYING, _NARROW = 5, 9  # so many headings, so narrow ones, lie above their columns
_ENDS = {
    "together": ("never together", "in every seed"),
    "transfer": ("nothing", ""),
    "correlation": ("opposite", "alike"),
    "cosine": ("opposite", "alike"),
}
"""Words at the ends of the scale; else the numbers alone."""
_SIGNED = ("correlation", "cosine")
"""Between -1 and 1 whatever there is, so that maps compare."""
_CORNERS = {"transfer": "giver ↓ taker →"}

Pairs = Mapping[str, Any]
"""Numbers by the task of the row, then by that of the column."""


@dataclass(frozen=True)
class TermCell:
    """One pair; `value` None is the diagonal, or was not told."""

    reading: str
    text: str = ""
    title: str = ""
    value: float | None = None
    shade: int = 0


@dataclass(frozen=True)
class TermMap:
    """A map with what stands around it."""

    title: str
    corner: str
    headings: tuple[tuple[str, str], ...]
    """Every task's heading and its whole name."""
    rows: tuple[tuple[str, tuple[TermCell, ...]], ...]
    dense: bool
    upright: bool
    signs: bool
    """Whether there may be numbers below 0, which have a colour of their own."""
    ends: tuple[str, str]


def term_map(key: str, title: str, pairs: Pairs, tasks: Sequence[str]) -> TermMap:
    """The map of these tasks that the numbers are of, in their order."""
    shown = [task for task in tasks if task in pairs]
    dense = len(shown) > WITH_TEXT
    upright = len(shown) > _LYING or max(map(columns, shown)) > _NARROW
    values = [v for row in shown for column in shown if (v := _at(pairs, row, column)) is not None]
    signs = key in _SIGNED or min(values, default=0.0) < 0
    end = max([1.0, *map(abs, values)])
    rows = tuple(
        (
            short(row, _HEADING) if dense else row,
            tuple(
                TermCell("self")
                if row == column
                else _cell(key, (row, column), _at(pairs, row, column), end, signs, dense)
                for column in shown
            ),
        )
        for row in shown
    )
    return TermMap(
        title=title,
        corner=_CORNERS.get(key, ""),
        headings=tuple((short(task, _HEADING) if upright else task, task) for task in shown),
        rows=rows,
        dense=dense,
        upright=upright,
        signs=signs,
        ends=_ends(key, end, signs),
    )


def mean_map(several: Sequence[Pairs], tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """The mean of several maps of the same tasks, by pair."""
    found: dict[str, dict[str, float]] = {}
    for row in (task for task in tasks if task in several[0]):
        for column in mapping(several[0][row]):
            known = [v for one in several if (v := _at(one, row, column)) is not None]
            if known:
                found.setdefault(row, {})[column] = sum(known) / len(known)
    return found


def _at(pairs: Pairs, row: str, column: str) -> float | None:
    return None if row == column else number(mapping(pairs.get(row)).get(column))


def _cell(
    key: str, pair: tuple[str, str], value: float | None, end: float, signs: bool, dense: bool
) -> TermCell:
    one, other = pair
    if value is None:
        return TermCell("unknown", title=f"{one} and {other}: not told")
    text = signed(value, 2) if signs else fixed(value, 2)
    joined = f"from {one} to {other}" if key in _CORNERS else f"{one} and {other}"
    reading = "fight" if value < 0 else "agree"
    shade = round(100 * min(1.0, abs(value) / end))
    return TermCell(reading, "" if dense else text, f"{joined}: {text}", value, shade)


def _ends(key: str, end: float, signs: bool) -> tuple[str, str]:
    """What stands at both ends of the scale."""
    decimals = 0 if end == 1 else 1
    low, high = _ENDS.get(key, ("", ""))
    least = f"{MINUS}{fixed(end, decimals)}" if signs else "0"
    return f"{least} {low}".strip(), f"{high} {fixed(end, decimals)}".strip()
