"""Figures of an `Affinity` for a notebook or a paper: the heat map and the tree of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError
from polytask.relationships import Grouping
from polytask.relationships.affinity import as_affinity
from polytask.report.names import columns, short
from polytask.report.plots import axes_box
from polytask.report.relation_groups import Groups, assigned
from polytask.report.relation_map import (
    HEADING,
    LESS,
    MORE,
    NOISE,
    SELF,
    UNKNOWN,
    AffinityMap,
    MapCell,
    affinity_map,
    ends_text,
)
from polytask.report.relation_plots import tree_figure
from polytask.report.relation_scale import scale_of
from polytask.report.relation_tree import Tree, tree_of
from polytask.report.svg import new_figure, settings

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from polytask.relationships import Affinity

    Table = Affinity | Mapping[str, Mapping[str, float | None]] | pandas.DataFrame

LIGHT = {
    "ink": "#1c1e21", "muted": "#666b72", "rule": "#e4e4df", "paper": "#ffffff", "c0": "#0072b2",
    "c1": "#d55e00",
}  # fmt: skip
"""The colours of the report's light page."""
_CELL, _DENSE = (52, 42), (15, 15)
_EDGES = {
    "top": ((0, 1), (0, 0)),
    "right": ((1, 1), (0, 1)),
    "bottom": ((0, 1), (1, 1)),
    "left": ((0, 0), (0, 1)),
}


def affinity_heat_map(
    affinity: Table, grouping: Grouping | None = None, *, gains: bool = True
) -> Figure:
    """The heat map of affinities, as in the report of `polytask.relate`.

    Rows are the scored tasks, columns the companions, both in the order of the leaves of
    `dendrogram` (without one, in that of the groups, then of the tasks). Blue helps and orange
    hurts; what is within two standard errors of 0 is hatched, what was not measured is crossed.
    Up to 14 tasks the numbers stand in the cells; where they are very small or large they are in
    units of a power of ten, which is named below.

    Args:
        affinity: an `Affinity`, a mapping `{scored: {companion: value}}` or a DataFrame.
        grouping: what `polytask.group_tasks` found in it; each task's affinities with the
            companions in the group that serves it are outlined.
        gains: whether 0 means no help. If not, one colour runs from the smallest number to the
            largest, and nothing is hatched.

    Returns:
        A matplotlib figure on a white ground; `figure.savefig("map.svg")` writes it.

    Raises:
        UserError: no table of affinities, or a grouping of other tasks.
        MissingExtraError: matplotlib is not installed.

    """
    table = as_affinity(affinity)
    groups = _groups(grouping, table)
    drawn = affinity_map(table, tree_of(table), groups, gains=gains)
    width, height = _DENSE if drawn.dense else _CELL
    size = len(drawn.tasks)
    names = [short(task, HEADING) for task in drawn.tasks]
    longest = max(map(columns, names))
    left, top = 16 + 6.9 * longest, 16 + (6.9 * longest if drawn.upright else 12)
    bottom = 46
    whole = left + width * size + 12, top + height * size + bottom
    with settings(LIGHT.__getitem__):
        figure = _on_white(new_figure(*whole))
        axes = figure.add_axes(axes_box(*whole, left, 12, top, bottom))
        axes.set_xlim(0, size)
        axes.set_ylim(size, 0)
        for row, cells in enumerate(drawn.rows):
            for column, cell in enumerate(cells):
                _draw(axes, row, column, cell, drawn)
        places = [index + 0.5 for index in range(size)]
        small = 8 if drawn.dense else 11
        axes.set_yticks(places, names, fontsize=small, color=LIGHT["ink"])
        axes.set_xticks(
            places, names, fontsize=small, color=LIGHT["ink"], rotation=90 if drawn.upright else 0
        )
        axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(_legend(drawn), fontsize=10, loc="left")
        return figure


def dendrogram(affinity: Table, grouping: Grouping | None = None) -> Figure:
    """The tree of tasks from their affinities, as in the report of `polytask.relate`.

    The distance of two tasks is the largest mean affinity of any pair minus the mean of their two
    affinities; clusters are joined by average linkage. The axis tells the mean affinity at which
    they join, so what joins far to the left belongs together most.

    Args:
        affinity: an `Affinity`, a mapping `{scored: {companion: value}}` or a DataFrame.
        grouping: what `polytask.group_tasks` found in it; the letter at a leaf names the group
            that serves the task.

    Returns:
        A matplotlib figure on a white ground.

    Raises:
        UserError: no table of affinities, one task alone, pairs that were not measured, or a
            grouping of other tasks.
        MissingExtraError: matplotlib is not installed.

    """
    table = as_affinity(affinity)
    groups = _groups(grouping, table)
    tree = tree_of(table)
    if not isinstance(tree, Tree):
        raise UserError(f"affinity: expected what a tree of tasks can be made of, but {tree}.")
    letters = [groups.letter(task) for task in tree.leaves]
    with settings(LIGHT.__getitem__):
        return _on_white(tree_figure(tree, scale_of(table, True), letters, LIGHT.__getitem__))


def _groups(grouping: Grouping | None, table: Affinity) -> Groups:
    """Raises `UserError` for a grouping of other tasks."""
    if grouping is None:
        return Groups()
    if set(grouping.assignment) != set(table.tasks):
        raise UserError(
            "grouping: expected groups of the tasks of the affinities, "
            f"{', '.join(table.tasks)}; found {', '.join(grouping.assignment)}."
        )
    return assigned(grouping.groups, grouping.assignment)


def _on_white(figure: Figure) -> Figure:
    figure.patch.set_facecolor(LIGHT["paper"])
    figure.patch.set_visible(True)
    return figure


def _legend(drawn: AffinityMap) -> str:
    """What rows, columns, colours and numbers are."""
    low, high = ends_text(drawn.scale)
    said = ["rows: scored tasks; columns: companions", f"colours: {low} to {high}"]
    if drawn.scale.power:
        said.insert(1, f"numbers in {drawn.scale.unit}")
    return "\n".join(["; ".join(said[:-1]), said[-1]])


def _draw(axes: Axes, row: int, column: int, cell: MapCell, drawn: AffinityMap) -> None:
    """One cell: its ground, its number, the part of an outline that it has."""
    from matplotlib.patches import Rectangle

    grounds: dict[str, dict[str, Any]] = {
        SELF: {"facecolor": LIGHT["rule"], "alpha": 0.55},
        NOISE: {"facecolor": "none", "edgecolor": "#d3d5d8", "hatch": "////", "linewidth": 0},
        UNKNOWN: {"facecolor": "none"},
        MORE: {"facecolor": LIGHT["c0"], "alpha": 0.12 + 0.0068 * cell.shade},
        LESS: {"facecolor": LIGHT["c1"], "alpha": 0.12 + 0.0068 * cell.shade},
    }
    air = 0.02
    side = 1 - 2 * air
    axes.add_patch(Rectangle((column + air, row + air), side, side, **grounds[cell.reading]))
    if cell.reading == UNKNOWN:
        for ends in ((row + 0.1, row + 0.9), (row + 0.9, row + 0.1)):
            axes.plot([column + 0.1, column + 0.9], ends, color=LIGHT["muted"], linewidth=0.8)
    text = "\n".join(filter(None, (cell.text, cell.small)))
    size = 8 if drawn.dense else 10
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=size)
    for edge in cell.sides:
        x, y = _EDGES[edge]
        axes.plot(
            [column + end for end in x], [row + end for end in y], color=LIGHT["ink"],
            linewidth=2, clip_on=False, solid_capstyle="projecting",
        )  # fmt: skip
