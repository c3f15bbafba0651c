"""The branch tree of a study of relationships as a table: a row a task, a column a level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polytask.report.numbers import fixed, number, plural


@dataclass(frozen=True)
class TreeCell:
    """A part of the branch tree: the tasks that share it, and how many rows it spans."""

    text: str
    span: int


def branch_rows(levels: Sequence[Sequence[Sequence[str]]]) -> list[tuple[str, list[TreeCell]]]:
    """(task, cells that begin in its row) from the tree's levels, the one next to the input first.

    Tasks stand in the order in which the branches divide, so that a group of a level is one cell.
    """
    places = [
        {task: place for place, group in enumerate(level) for task in group} for level in levels
    ]
    tasks = list(dict.fromkeys(task for level in levels for group in level for task in group))
    tasks.sort(key=lambda task: [place.get(task, -1) for place in places])
    rows = []
    for row, task in enumerate(tasks):
        cells = []
        for place in places:
            here = place.get(task, -1)
            if row and place.get(tasks[row - 1], -1) == here:
                continue
            span = next(
                (end for end in range(row, len(tasks)) if place.get(tasks[end], -1) != here),
                len(tasks),
            ) - row  # fmt: skip
            text = f"{plural(span, 'task')} share" if span > 1 else "own"
            cells.append(TreeCell(text, span))
        rows.append((task, cells))
    return rows


def branch_size(branches: Mapping[str, Any]) -> str:
    """How large the tree is, and how large it might have been."""
    cost, budget = number(branches.get("cost")), number(branches.get("budget"))
    if budget is None:
        return ""
    most = f"at most {fixed(budget, 1)} times the layers of one network were allowed"
    return (
        f"{most[0].upper()}{most[1:]}."
        if cost is None
        else (f"It has {fixed(cost, 1)} times the layers of one network for all; {most}.")
    )
