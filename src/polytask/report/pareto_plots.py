"""The figure of a front: for two tasks their scores, for more the gains as parallel lines."""

from __future__ import annotations

from markupsafe import Markup

from polytask.report.names import short
from polytask.report.numbers import number
from polytask.report.pareto_results import Front, FrontPoint
from polytask.report.plots import LABEL, axes_box, dot, few_ticks
from polytask.report.svg import colour, new_figure, settings, to_svg

WIDTH, HEIGHT = 560, 400
MOST_AXES = 30
"""Tasks that are drawn; the table has all."""


def front_svg(front: Front) -> tuple[str, Markup] | None:
    """(title, drawing); None before any point has scores."""
    if len(front.tasks) == 2:
        return _scatter(front)
    return _parallel(front)


def _scatter(front: Front) -> tuple[str, Markup] | None:
    """One task's score across, the other's upwards; the front joined, the ideal as two lines."""
    first, second = front.tasks
    spots = [
        (point, x, y)
        for point in front.points
        if (x := number(point.task(first).get("mean"))) is not None
        and (y := number(point.task(second).get("mean"))) is not None
    ]
    if not spots:
        return None
    with settings():
        figure = new_figure(WIDTH, HEIGHT)
        axes = figure.add_axes(axes_box(WIDTH, HEIGHT, 64, 20, 24, 44))
        for task, line in ((first, axes.axvline), (second, axes.axhline)):
            alone = number(front.single(task).get("mean"))
            if alone is not None:
                line(alone, color=colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
        kept = sorted(((x, y) for point, x, y in spots if point.front), key=lambda spot: spot[0])
        if len(kept) > 1:
            axes.plot(*zip(*kept, strict=True), color=colour("muted"), linewidth=1.4)
        for point, x, y in spots:
            tone = colour(point.style.colour)
            for task, wide in ((first, True), (second, False)):
                sd = number(point.task(task).get("sd"))
                if sd is not None:
                    ends = ([x - sd, x + sd], [y, y]) if wide else ([x, x], [y - sd, y + sd])
                    axes.plot(*ends, color=tone, linewidth=1, alpha=0.5)
            dot(axes, x, y, point.style)
            axes.annotate(
                str(point.number) if point.front else f"({point.number})",
                (x, y),
                xytext=(7, 7),
                textcoords="offset points",
                fontsize=11,
                color=colour("ink" if point.front else "muted"),
            )
        axes.set_xlabel(f"{short(first, LABEL)}: {front.metric(first)}", fontsize=11)
        axes.set_title(
            f"{short(second, LABEL)}: {front.metric(second)}",
            loc="left",
            fontsize=11,
            color=colour("muted"),
        )
        axes.margins(0.12)
        few_ticks(axes.xaxis, 6)
        few_ticks(axes.yaxis, 6)
        return "Trade-offs on test", to_svg(figure, "Trade-offs on test")


def _parallel(front: Front) -> tuple[str, Markup] | None:
    """A line a point over the tasks: gains over single-task in percent."""
    tasks = front.tasks[:MOST_AXES]
    drawn = [(point, _gains(point, tasks)) for point in front.points]
    drawn = [(point, row) for point, row in drawn if any(v is not None for v in row)]
    if not drawn:
        return None
    width = max(WIDTH, 64 + 56 * len(tasks))
    with settings():
        figure = new_figure(width, HEIGHT)
        axes = figure.add_axes(axes_box(width, HEIGHT, 64, 20, 24, 96))
        axes.axhline(0, color=colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
        for point, row in drawn:
            pairs = [(i, value) for i, value in enumerate(row) if value is not None]
            x, y = zip(*pairs, strict=True)
            axes.plot(
                x,
                y,
                color=colour(point.style.colour if point.front else "muted"),
                linestyle=point.style.dash,
                linewidth=1.8 if point.front else 1.0,
                marker=point.style.marker,
                markersize=6,
                markeredgewidth=0,
                alpha=1.0 if point.front else 0.6,
            )
        axes.set_xticks(range(len(tasks)))
        axes.set_xticklabels([short(t, LABEL) for t in tasks], rotation=35, ha="right", fontsize=10)
        axes.set_title("gain, % better than alone ↑", loc="left", fontsize=11,
                       color=colour("muted"))  # fmt: skip
        axes.grid(axis="x", color=colour("rule"), linewidth=0.8)
        few_ticks(axes.yaxis, 6)
        return "Gains on test", to_svg(figure, "Gains on test")


def _gains(point: FrontPoint, tasks: list[str]) -> list[float | None]:
    return [number(point.gain(task)[0]) for task in tasks]
