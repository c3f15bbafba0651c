"""The scatter of cost against gain, with labels that keep out of each other's way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from polytask.report.names import columns, short
from polytask.report.numbers import ratio
from polytask.report.plot_data import CostPoint
from polytask.report.plots import FOREST_WIDTH, LABEL, axes_box, dot, few_ticks
from polytask.report.svg import colour, new_figure, settings, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def cost_svg(points: list[CostPoint]) -> Markup:
    """Step cost against Δm, every point labelled."""
    height = 330
    with settings():
        figure = new_figure(FOREST_WIDTH, height)
        axes = figure.add_axes(axes_box(FOREST_WIDTH, height, 48, 16, 26, 46))
        axes.axhline(0, color=colour("muted"), linewidth=1)
        for point in points:
            if point.low is not None and point.high is not None:
                ends = [point.low, point.high]
                ink = colour(point.style.colour)
                axes.plot([point.cost] * 2, ends, color=ink, linewidth=1.6, alpha=0.55)
            dot(axes, point.cost, point.mean, point.style)
        costs = [point.cost for point in points]
        low, high = min([*costs, 1.0]), max([*costs, 1.0])
        if high / low > 4:
            axes.set_xscale("log")
            low, high = low / 1.25, high * 1.6
            ticks = [t for t in (0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if low <= t <= high]
        else:
            air = 0.12 * (high - low) or 0.2
            low, high = low - air, high + 2.5 * air
            step = next(s for s in (0.1, 0.2, 0.5, 1) if (high - low) / s <= 6 or s == 1)
            first = math.ceil(low / step)
            ticks = [k * step for k in range(first, math.floor(high / step) + 1)]
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, [ratio(tick) for tick in ticks])
        axes.minorticks_off()
        axes.margins(y=0.08)
        axes.set_xlabel("cost of a step, multiple of equal weights", fontsize=12)
        axes.set_title("Δm in %, positive = better", loc="left", fontsize=12, color=colour("muted"))
        axes.grid(axis="y", color=colour("rule"), linewidth=0.8)
        axes.spines["left"].set_visible(False)
        axes.set_axisbelow(True)
        few_ticks(axes.yaxis, 5)
        _label_points(axes, points)
        return to_svg(figure, "Cost of a step against gain over single-task")


def _label_points(axes: Axes, points: list[CostPoint]) -> None:
    """Put each label where it covers no point and no other label."""
    axes.autoscale_view(scalex=False)
    spots = [axes.transData.transform((point.cost, point.mean)) for point in points]
    frame = axes.get_window_extent()
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    for point, (x, y) in sorted(zip(points, spots, strict=True), key=lambda p: -p[0].mean):
        text = short(point.label, LABEL)
        wide, tall = 7.2 * columns(text), 14
        corners = [
            (x + 9 + shift, y + rise - tall / 2)
            for rise in (0.0, tall, -tall, 2 * tall, -2 * tall)
            for shift in (0.0, -wide - 18)
        ]
        boxes = [(a, b, a + wide, b + tall) for a, b in corners]
        costs = [
            sum(_overlap(box, other) for other in taken)
            + 100 * max(0.0, box[2] - frame.x1, frame.x0 - box[0])
            for box in boxes
        ]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        axes.annotate(
            text,
            (point.cost, point.mean),
            xytext=(boxes[best][0] - x, boxes[best][1] + tall / 2 - y),
            textcoords="offset points",
            va="center",
            fontsize=11.5,
            fontweight="bold" if point.chosen else "normal",
        )


def _overlap(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    return max(0.0, width) * max(0.0, height)
