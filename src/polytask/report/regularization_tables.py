"""What terms tell of every weight of the networks, as a table with a row a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from polytask.report.cells import NOTHING, Cell, Column, Row, Table
from polytask.report.numbers import THIN, column_decimals, fixed, number, numbers
from polytask.report.results import mapping

RANKS, FULL, SPECTRUM = "ranks", "full", "spectrum"
_BAR, _GAP, _HEIGHT = 9, 2, 22
_MOST_BARS = 12

Columns = Mapping[str, Mapping[str, Any]]
"""By name of what was found, values by weight."""


def weight_table(found: Columns) -> Table | None:
    """A row a weight, a column a number of it; None without any.

    Ranks stand beside the most they could be; singular values are drawn as bars.
    """
    weights = list(dict.fromkeys(weight for column in found.values() for weight in column))
    made: list[tuple[str, list[Cell]]] = []
    for key, column in found.items():
        values = [column.get(weight) for weight in weights]
        if key == FULL and RANKS in found:
            continue
        if key == RANKS and FULL in found:
            most = [found[FULL].get(weight) for weight in weights]
            made.append((key, [_ranks(*pair) for pair in zip(values, most, strict=True)]))
        elif any(isinstance(value, Mapping) for value in values):
            names = dict.fromkeys(name for value in values for name in mapping(value))
            made += [(name, _plain([mapping(v).get(name) for v in values])) for name in names]
        elif any(isinstance(value, list) for value in values):
            made.append((key, [_list(value, bars=key == SPECTRUM) for value in values]))
        else:
            made.append((key, _plain(values)))
    if not weights or not made:
        return None
    columns = tuple(Column(name) for name, _ in made)
    rows = tuple(
        Row(weight, (), None, tuple(cells[place] for _, cells in made))
        for place, weight in enumerate(weights)
    )
    return Table("What was found in every weight", columns, rows)


def _plain(values: Sequence[Any]) -> list[Cell]:
    """One column of numbers: whole ones as they are, shares to three digits, others to a tenth."""
    sizes = numbers(values)
    whole = all(value == round(value) for value in sizes)
    large = any(abs(value) >= 1 for value in sizes)
    decimals = 0 if whole else 1 if large else min(3, column_decimals(values))
    return [
        NOTHING if (found := number(value)) is None else Cell(fixed(found, decimals), value=found)
        for value in values
    ]


def _ranks(value: Any, most: Any) -> Cell:
    """'2.4 of 3 · 7 of 12'."""
    if not isinstance(value, list) or not isinstance(most, list) or len(value) != len(most):
        return _list(value, bars=False)
    pairs = [(_short(one), _short(of)) for one, of in zip(value, most, strict=True)]
    return Cell(" · ".join(f"{one}{THIN}of{THIN}{of}" for one, of in pairs), value=number(value[0]))


def _list(value: Any, *, bars: bool) -> Cell:
    shares = numbers(value) if isinstance(value, list) else []
    if not shares:
        return NOTHING
    text = " · ".join(map(_short, shares[:_MOST_BARS])) + (" …" if len(shares) > _MOST_BARS else "")
    if bars:
        return Cell(_bars(shares[:_MOST_BARS]), text, shares[-1])
    return Cell(text, value=shares[0])


def _short(value: Any) -> str:
    found = number(value)
    if found is None:
        return "?"
    return fixed(found, 0 if found == round(found) else 2 if abs(found) < 1 else 1)


def _bars(shares: Sequence[float]) -> Markup:
    """Bars of these heights, the first one full."""
    width = len(shares) * (_BAR + _GAP) - _GAP
    drawn = Markup("").join(
        Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="var(--c0)"/>').format(
            place * (_BAR + _GAP),
            round(_HEIGHT * (1 - share), 1),
            _BAR,
            round(max(0.6, _HEIGHT * share), 1),
        )
        for place, share in enumerate(min(1.0, max(0.0, share)) for share in shares)
    )
    return Markup('<svg class="bars" width="{}" height="{}" aria-hidden="true">{}</svg>').format(
        width, _HEIGHT, drawn
    )
