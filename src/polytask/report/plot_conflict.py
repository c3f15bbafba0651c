"""The task-conflict heat map and the strips of its pairs, as positions and shades for the page.

The map is a table: a reader's finger, a screen reader and a printer know what to do with one.
A cell's shade is its |cosine| on fixed limits, so that maps of different studies compare; what
lies within its null level is hatched instead of coloured.
"""

from __future__ import annotations

from dataclasses import dataclass

from polytask.report.conflict import UNDEFINED, Conflict, Pair
from polytask.report.conflict_words import (
    cosine_text,
    error_text,
    how_measured,
    pair_title,
    reading_text,
    sentences,
)
from polytask.report.names import columns, short
from polytask.report.numbers import MINUS, fixed
from polytask.report.results import Results

WITH_TEXT = 14
"""Up to this many tasks a cell holds its numbers; beyond, its sign."""
_STRONGEST = 15  # pairs listed beside the map
_HEADING = 19  # columns of a heading that stands on end
_LYING, _NARROW = 5, 9  # so many headings, so narrow ones, lie above their columns
_SIGNS = {"agree": "+", "fight": MINUS, UNDEFINED: "?"}

Strip = tuple[float, float, float, float, float]
"""Low end, mean and high end of a pair, then the ends of its null band, in percent of width."""


@dataclass(frozen=True)
class HeatCell:
    """One cell; `pair` None is the diagonal. `shade` is |cosine| in percent, at most 100."""

    text: str = ""
    small: str = ""
    value: float | None = None
    title: str = ""
    reading: str = "self"
    shade: int = 0


@dataclass(frozen=True)
class PairRow:
    """One pair in the list of pairs."""

    pair: Pair
    text: str
    reading: str
    strip: Strip | None


@dataclass(frozen=True)
class HeatMap:
    """A map with everything that stands around it."""

    title: str
    said: list[str]
    how: str
    headings: tuple[tuple[str, str], ...]
    """Every task's heading and its whole name."""
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]
    dense: bool
    upright: bool
    """Whether the column headings stand on end, to be as narrow as their columns."""
    band: tuple[float, float] | None
    """The null level in the legend, in percent of its width."""
    null_text: str
    strongest: tuple[PairRow, ...]
    others: tuple[PairRow, ...]
    ordered: bool


def heat_maps(conflicts: list[Conflict], results: Results) -> list[HeatMap]:
    """One map an architecture, named when there are several."""
    single = len(conflicts) == 1
    return [_heat_map(c, "" if single else c.architecture, results) for c in conflicts]


def _heat_map(conflict: Conflict, title: str, results: Results) -> HeatMap:
    dense = len(conflict.tasks) > WITH_TEXT
    upright = len(conflict.tasks) > _LYING or max(map(columns, conflict.tasks)) > _NARROW
    by_names = {frozenset((pair.one, pair.other)): pair for pair in conflict.pairs}
    rows = tuple(
        (
            short(row, _HEADING) if dense else row,
            tuple(
                HeatCell() if row == column else _cell(by_names[frozenset((row, column))], dense)
                for column in conflict.tasks
            ),
        )
        for row in conflict.tasks
    )
    listed = tuple(
        PairRow(pair, f"{cosine_text(pair)} {error_text(pair)}".strip(), reading_text(pair),
                _strip(pair, _quantile(pair.groups or conflict.blocks)))
        for pair in conflict.pairs
    )  # fmt: skip
    low, typical, high = _levels(conflict)
    return HeatMap(
        title=title,
        said=sentences(conflict),
        how=how_measured(conflict),
        headings=tuple((short(t, _HEADING) if upright else t, t) for t in conflict.tasks),
        rows=rows,
        dense=dense,
        upright=upright,
        band=None if typical is None else (_place(-typical), _place(typical)),
        null_text=_null_text(low, typical, high),
        strongest=listed[:_STRONGEST],
        others=listed[_STRONGEST:],
        ordered=conflict.tasks != tuple(name for name in results.tasks if name in conflict.tasks),
    )


def _cell(pair: Pair, dense: bool) -> HeatCell:
    title = pair_title(pair)
    if dense:
        text, small = _SIGNS.get(pair.reading, ""), ""
    else:
        text, small = cosine_text(pair), error_text(pair)
    shade = round(100 * min(1.0, abs(pair.cosine or 0.0)))
    return HeatCell(text, small, pair.cosine, title, pair.reading, shade)


def _levels(conflict: Conflict) -> tuple[float | None, float | None, float | None]:
    """The smallest, the median and the largest null level."""
    nulls = conflict.nulls
    return (nulls[0], nulls[len(nulls) // 2], nulls[-1]) if nulls else (None, None, None)


def _null_text(low: float | None, typical: float | None, high: float | None) -> str:
    if low is None or typical is None or high is None:
        return "no null level was measured"
    said = f"null level ±{fixed(typical, 2)}"
    ends = (fixed(low, 2), fixed(high, 2))
    return said if ends[0] == ends[1] else f"{said}, {ends[0]} to {ends[1]} by pair"


def _strip(pair: Pair, quantile: float) -> Strip | None:
    """The 95 % interval, with the null band behind it."""
    if pair.cosine is None:
        return None
    reach, null = quantile * (pair.error or 0.0), pair.null or 0.0
    ends = (pair.cosine - reach, pair.cosine, pair.cosine + reach, -null, null)
    low, mean, high, left, right = map(_place, ends)
    return (low, mean, high, left, right)


def _quantile(blocks: int | None) -> float:
    """Standard errors from a cosine to the end of its 95 % interval, by Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(blocks - 1, 0.975)) if blocks is not None and blocks > 1 else 1.96


def _place(cosine: float) -> float:
    """Where a cosine lies between −1 and 1, in percent."""
    return round(50 + 50 * min(1.0, max(-1.0, cosine)), 2)
