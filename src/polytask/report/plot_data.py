"""What the plots show, as plain data: everything that can be wrong about a plot but its ink."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from polytask.report.numbers import (
    interval_decimals,
    interval_text,
    number,
    numbers,
)
from polytask.report.results import (
    BOOSTING_STYLE,
    SINGLE_STYLE,
    Candidate,
    Results,
    Style,
    mapping,
    triple,
)

Limits = tuple[float, float]
ForestEntry = tuple[str, Style, tuple[Any, Any, Any], bool]
GAIN = "% better than single-task →"
VERSUS = "points of Δm above equal weights →"


@dataclass(frozen=True)
class ForestRow:
    """A point with its 95 % interval; `text` is the same in numbers, or 'undefined'."""

    label: str
    style: Style
    mean: float | None
    low: float | None
    high: float | None
    text: str
    chosen: bool = False


@dataclass(frozen=True)
class Forest:
    """Rows of gains in percent around zero, positive = better than single-task."""

    title: str
    rows: tuple[ForestRow, ...]
    limits: Limits
    axis: str = GAIN

    @property
    def spans(self) -> list[float]:
        """Every number drawn."""
        return numbers(value for row in self.rows for value in (row.mean, row.low, row.high))


@dataclass(frozen=True)
class Line:
    """One model over epochs."""

    label: str
    style: Style
    x: tuple[float, ...]
    y: tuple[float, ...]
    strong: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines of one task over epochs; `reference` is drawn as a level line."""

    title: str
    y_label: str
    lines: tuple[Line, ...]
    reference: float | None
    limits: Limits


@dataclass(frozen=True)
class CostPoint:
    """A model's step cost (multiple of equal weights) and its Δm with interval."""

    label: str
    style: Style
    cost: float
    mean: float
    low: float | None
    high: float | None
    chosen: bool


def delta_m_forests(results: Results) -> list[Forest]:
    """Δm of every candidate: at equal epochs and, where measured, at equal cost; one scale."""
    views: list[tuple[str, Callable[[Candidate], tuple[Any, Any, Any]]]] = [
        ("At equal epochs", lambda candidate: candidate.delta_m),
        ("At equal measured cost", lambda candidate: candidate.equal_time),
    ]
    forests = [
        make_forest(title, [(c.label, c.style, view(c), c.chosen) for c in results.candidates])
        for title, view in views
    ]
    return one_scale([forest for forest in forests if forest.spans])


def task_forests(results: Results) -> list[Forest]:
    """The gain on each task, one forest per task, gradient boosting beside the candidates."""
    forests = []
    for task in results.tasks:
        rows = [(c.label, c.style, c.gain(task), c.chosen) for c in results.candidates]
        if task in results.boosting:
            gain = triple(results.boosting[task], "gain_")
            rows.append(("gradient boosting", BOOSTING_STYLE, gain, False))
        forests.append(make_forest(task, rows))
    # One scale makes tasks comparable, unless one wild task would flatten all the others.
    reaches = [max(abs(end) for end in forest.limits) for forest in forests if forest.spans]
    if reaches and max(reaches) > 4 * median(reaches):
        return forests
    return one_scale(forests)


def versus_linear_forest(results: Results) -> Forest | None:
    """The paired difference of Δm to equal weights; None where the study holds none."""
    rows = [
        (candidate.label, candidate.style, candidate.versus_linear, candidate.chosen)
        for candidate in results.candidates
        if number(candidate.versus_linear[0]) is not None
    ]
    return make_forest("Against equal weights, seed by seed", rows, VERSUS) if rows else None


def make_forest(title: str, rows: Iterable[ForestEntry], axis: str = GAIN) -> Forest:
    """Rows of gains, rounded alike; the limits hold all of them and zero."""
    kept = list(rows)
    decimals = interval_decimals(interval for _, _, interval, _ in kept)
    drawn = tuple(
        ForestRow(
            label,
            style,
            number(m),
            number(a),
            number(b),
            interval_text((m, a, b), decimals),
            chosen,
        )
        for label, style, (m, a, b), chosen in kept
    )
    forest = Forest(title, drawn, (-1.0, 1.0), axis)
    return replace(forest, limits=_around_zero(forest.spans))


def one_scale(forests: list[Forest]) -> list[Forest]:
    """The same forests with common limits."""
    limits = _around_zero([value for forest in forests for value in forest.spans])
    return [replace(forest, limits=limits) for forest in forests]


def _around_zero(values: list[float]) -> Limits:
    """Limits that hold the values and zero, with a little air."""
    low, high = min([*values, 0.0]), max([*values, 0.0])
    air = 0.06 * (high - low) or 1.0
    return (low - air, high + air)


def learning_curves(results: Results) -> list[Panel]:
    """The validation metric over epochs per task, with the single-task mean as a level line."""
    panels = []
    for name, task in results.tasks.items():
        lines = [
            line
            for candidate in results.candidates
            if (line := _curve(candidate, mapping(candidate.raw.get("curves")).get(name)))
        ]
        single = mapping(results.single_task.get(name))
        own = mapping(single.get("curves") or single.get("curve"))
        if line := _line("single-task", SINGLE_STYLE, own):
            lines.append(line)
        if lines:
            values = numbers(single.get("val") or [])
            level = sum(values) / len(values) if values else None
            label = f"{task.get('metric', 'metric')} {results.arrow(name)}"
            panels.append(Panel(name, label, tuple(lines), level, settled(lines, level)))
    return panels


def weight_curves(results: Results) -> list[Panel]:
    """The mean task weight per epoch, one panel per task on one scale; [] when none is recorded."""
    panels = []
    for name in results.tasks:
        lines = []
        for candidate in results.candidates:
            values = mapping(candidate.raw.get("weights")).get(name) or []
            epochs = list(range(1, len(values) + 1))
            line = _line(candidate.label, candidate.style, {"epochs": epochs, "val": values})
            if line:
                lines.append(replace(line, strong=candidate.chosen))
        if lines:
            panels.append(Panel(name, "weight", tuple(lines), None, (0.0, 1.0)))
    values = [value for panel in panels for line in panel.lines for value in line.y]
    limits = _padded([*values, 0.0])
    return [replace(panel, limits=limits) for panel in panels]


def cost_points(results: Results) -> list[CostPoint]:
    """Every candidate whose cost and Δm are both known."""
    points = []
    for candidate in results.candidates:
        cost = number(candidate.cost("relative"))
        mean, low, high = (number(value) for value in candidate.delta_m)
        if cost is not None and cost > 0 and mean is not None:
            points.append(
                CostPoint(candidate.label, candidate.style, cost, mean, low, high, candidate.chosen)
            )
    return points


def _curve(candidate: Candidate, entry: Any) -> Line | None:
    line = _line(candidate.label, candidate.style, mapping(entry))
    return replace(line, strong=candidate.chosen) if line else None


def _line(label: str, style: Style, entry: Any) -> Line | None:
    pairs = [
        (float(epoch), value)
        for epoch, given in zip(entry.get("epochs") or [], entry.get("val") or [], strict=False)
        if (value := number(given)) is not None
    ]
    if not pairs:
        return None
    return Line(label, style, tuple(x for x, _ in pairs), tuple(y for _, y in pairs))


def settled(lines: list[Line], level: float | None) -> Limits:
    """Limits over what follows the first quarter of training, so that its fall hides nothing."""
    values = [] if level is None else [level]
    for line in lines:
        values.extend(line.y[len(line.y) // 4 :])
    return _padded(values)


def _padded(values: list[float]) -> Limits:
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return (low - air, high + air)
