"""The heat map of affinities as data: what stands in each cell, how it is shaded and outlined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from polytask.relationships import Affinity
from polytask.report.names import columns, short
from polytask.report.numbers import MINUS, number
from polytask.report.relation_groups import Groups
from polytask.report.relation_scale import Scale, scale_of
from polytask.report.relation_tree import Tree

WITH_TEXT = 14
"""Up to this many tasks a cell holds its numbers; beyond, its sign."""
HEADING = 19
"""Columns of a heading that stands on end."""
_LYING, _NARROW = 5, 9  # so many headings, so narrow ones, lie above their columns
MORE, LESS, NOISE, UNKNOWN, SELF = "agree", "fight", "noise", "unknown", "self"
_SIGNS = {MORE: "+", LESS: MINUS, UNKNOWN: "", SELF: ""}
_READINGS = {
    MORE: "helps",
    LESS: "hurts",
    NOISE: "within two standard errors of 0",
    UNKNOWN: "not measured",
}


@dataclass(frozen=True)
class MapCell:
    """One pair, in the direction of its row; the diagonal has no value."""

    reading: str
    text: str = ""
    small: str = ""
    value: float | None = None
    title: str = ""
    shade: int = 0
    sides: tuple[str, ...] = ()
    """Which of its sides ("top", ...) are part of the outline of a group."""


@dataclass(frozen=True)
class AffinityMap:
    """Rows are the scored tasks, columns the companions, both in the same order."""

    tasks: tuple[str, ...]
    headings: tuple[str, ...]
    letters: tuple[str, ...]
    """The group that serves each task, '' without groups."""
    rows: tuple[tuple[MapCell, ...], ...]
    scale: Scale
    dense: bool
    upright: bool
    """Whether the column headings stand on end, to be as narrow as their columns."""
    noise: bool
    """Whether any cell is hatched as noise."""
    unknown: bool
    """Whether any pair was not measured."""
    known: bool
    """Whether any was."""


def affinity_map(
    affinity: Affinity, tree: Tree | str, groups: Groups, *, gains: bool
) -> AffinityMap:
    """The map in the order of the tree's leaves; without a tree, groups stand together.

    With standard errors a gain within two of them of 0 counts as noise. A cell is inside an
    outline when its companion is in the group that serves its scored task: these are the numbers
    that the worth of a grouping is made of.
    """
    order = _order(affinity, tree, groups)
    scale = scale_of(affinity, gains)
    dense = len(order) > WITH_TEXT
    upright = len(order) > _LYING or max(map(columns, order)) > _NARROW
    rows = tuple(
        tuple(_cell(affinity, (i, j), order, groups, scale, dense=dense) for j in range(len(order)))
        for i in range(len(order))
    )
    readings = {cell.reading for row in rows for cell in row}
    return AffinityMap(
        tasks=order,
        headings=tuple(short(task, HEADING) if upright else task for task in order),
        letters=tuple(groups.letter(task) for task in order),
        rows=rows,
        scale=scale,
        dense=dense,
        upright=upright,
        noise=NOISE in readings,
        unknown=UNKNOWN in readings,
        known=bool(readings - {UNKNOWN, SELF}),
    )


def _order(affinity: Affinity, tree: Tree | str, groups: Groups) -> tuple[str, ...]:
    if isinstance(tree, Tree):
        return tree.leaves
    last = len(groups.members)
    return tuple(sorted(affinity.tasks, key=lambda task: groups.serving.get(task, last)))


def _cell(
    affinity: Affinity,
    place: tuple[int, int],
    order: Sequence[str],
    groups: Groups,
    scale: Scale,
    *,
    dense: bool,
) -> MapCell:
    scored, companion = (order[index] for index in place)
    sides = _sides(place, order, groups)
    if scored == companion:
        return MapCell(SELF, sides=sides)
    i, j = affinity.tasks.index(scored), affinity.tasks.index(companion)
    value, error = number(float(affinity.values[i, j])), None
    if affinity.standard_errors is not None:
        error = number(float(affinity.standard_errors[i, j]))
    reading = _reading(value, error, gains=scale.signs)
    known = scale.full(value) if value is not None else ""
    known += f" {scale.error(error)}" if known and error is not None else ""
    more = _READINGS[reading] if scale.signs or value is None else ""
    title = f"{scored}, trained with {companion}: " + "; ".join(filter(None, [known, more]))
    if value is None:
        return MapCell(UNKNOWN, title=title, sides=sides)
    shade = 0 if reading == NOISE else scale.shade(value)
    if dense:
        sign = _SIGNS.get(reading, "") if scale.signs else ""
        return MapCell(reading, sign, "", value, title, shade, sides)
    small = "" if error is None else scale.error(error)
    return MapCell(reading, scale.text(value), small, value, title, shade, sides)


def _reading(value: float | None, error: float | None, *, gains: bool) -> str:
    if value is None:
        return UNKNOWN
    if not gains:
        return MORE
    if value == 0 or abs(value) <= 2 * (error or 0.0):
        return NOISE
    return MORE if value > 0 else LESS


def _sides(place: tuple[int, int], order: Sequence[str], groups: Groups) -> tuple[str, ...]:
    """The sides at which the outline of a group passes this cell."""

    def inside(row: int, column: int) -> int | None:
        """The group that the cell belongs to, None outside of all and of the map."""
        if not (0 <= row < len(order) and 0 <= column < len(order)):
            return None
        scored, companion = order[row], order[column]
        return groups.serving[scored] if groups.together(scored, companion) else None

    row, column = place
    ours = inside(row, column)
    if ours is None:
        return ()
    around = {
        "top": (row - 1, column), "right": (row, column + 1),
        "bottom": (row + 1, column), "left": (row, column - 1),
    }  # fmt: skip
    return tuple(side for side, there in around.items() if inside(*there) != ours)


def ends_text(scale: Scale) -> tuple[str, str]:
    """What stands at both ends of the legend, without a unit; beyond a cut end there is more."""
    if math.isclose(scale.low, scale.high):
        return "", scale.text(scale.high)
    less, more = ("≤ ", "≥ ") if scale.cut else ("", "")
    return less + scale.text(scale.low), more + scale.text(scale.high)
