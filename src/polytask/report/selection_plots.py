"""What the plots of a selection show, as plain data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from polytask.report.names import short
from polytask.report.numbers import number
from polytask.report.plot_data import (
    Forest,
    ForestEntry,
    Line,
    Panel,
    make_forest,
    one_scale,
    settled,
)
from polytask.report.plots import LABEL
from polytask.report.results import triple
from polytask.report.selection_results import Selection


def helper_forests(selection: Selection) -> list[Forest]:
    """What each finalist adds to the main task alone, and to the other finalists; one scale."""
    axis = _axis(selection)
    views = [("Added to the main task alone", "add"), ("Added to the other finalists", "leave")]
    if len(selection.helpers) < 2:
        views = views[:1]
    forests = [
        make_forest(
            title,
            [(h.task, h.style, triple(getattr(h, view), ""), False) for h in selection.helpers],
            axis,
        )
        for title, view in views
    ]
    return one_scale([forest for forest in forests if forest.spans])


def set_forest(selection: Selection) -> list[Forest]:
    """The gain of every set over the main task alone."""
    rows: list[ForestEntry] = [
        (entry.name, entry.style, entry.gain, entry.chosen)
        for entry in selection.sets
        if entry.helpers
    ]
    forest = make_forest("With helpers against alone", rows, _axis(selection))
    return [forest] if forest.spans else []


def curves(selection: Selection) -> list[Panel]:
    """The main task's validation score by epoch: alone, with each finalist, as recommended."""
    lines = []
    for entry in selection.sets:
        if len(entry.helpers) > 1 and not entry.chosen:
            continue
        pairs: list[tuple[float, Any]] = [
            (float(epoch), value)
            for epoch, given in enumerate(entry.raw.get("curve") or [], start=1)
            if (value := number(given)) is not None
        ]
        if pairs:
            style = entry.style if entry.helpers else replace(entry.style, dash="dashed")
            x, y = zip(*pairs, strict=True)
            lines.append(Line(entry.name, style, x, y, entry.chosen))
    if not lines:
        return []
    return [Panel(selection.main, selection.metric, tuple(lines), None, settled(lines, None))]


def _axis(selection: Selection) -> str:
    return f"% of {short(selection.main, LABEL)} alone →"
