"""Drawing: `plot_data` in, inline SVG out. Nothing is computed here but positions of ink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from polytask.report.names import columns, short
from polytask.report.plot_data import Forest, Panel
from polytask.report.results import Style
from polytask.report.svg import colour, marker_path, marker_scale, new_figure, settings, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOREST_WIDTH = 440
PANEL_WIDTH = 340
_ROW = 25  # height of a row of a forest
LABEL = 19  # columns a label may have inside a plot; the table holds the whole


def forest_svgs(forests: Sequence[Forest]) -> list[tuple[str, Markup]]:
    """(title, drawing) of forests that stand side by side: the same margins for all of them."""
    rows = [row for forest in forests for row in forest.rows]
    names = [(columns(short(row.label, LABEL)), row.chosen) for row in rows]
    left = 22 + max((width * (7.9 if bold else 6.9) for width, bold in names), default=28)
    right = 14 + 6.9 * max((len(row.text) for row in rows), default=4)
    return [(forest.title, _forest_svg(forest, left, right)) for forest in forests]


def _forest_svg(forest: Forest, left: float, right: float) -> Markup:
    """Points with intervals around the zero line, the numbers at the right."""
    rows = forest.rows
    height = _ROW * len(rows) + 46
    inner = FOREST_WIDTH - left - right
    with settings():
        figure = new_figure(FOREST_WIDTH, height)
        axes = figure.add_axes(axes_box(FOREST_WIDTH, height, left, right, 6, 40))
        axes.axvline(0, color=colour("muted"), linewidth=1)
        beside: dict[str, Any] = {"va": "center", "transform": axes.get_yaxis_transform()}
        for index, row in enumerate(rows):
            if row.low is not None and row.high is not None:
                ends = [row.low, row.high]
                axes.plot(ends, [index] * 2, color=colour(row.style.colour), linewidth=1.8)
            if row.mean is not None:
                dot(axes, row.mean, index, row.style)
            beside["fontweight"] = "bold" if row.chosen else "normal"
            axes.text(
                -16 / inner, index, short(row.label, LABEL), ha="right", fontsize=12, **beside
            )
            tone = colour("ink" if row.mean is not None else "muted")
            axes.text(1 + 10 / inner, index, row.text, ha="left", fontsize=11, color=tone, **beside)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(forest.limits)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        few_ticks(axes.xaxis, 4)
        axes.set_xlabel(forest.axis, fontsize=11)
        return to_svg(figure, f"{forest.axis.removesuffix(' →')}: {forest.title}")


def panel_svg(panel: Panel, what: str) -> Markup:
    """Lines over epochs; the chosen one strong, a level line for the single-task mean."""
    height = 220
    crowded = len(panel.lines) > 6
    with settings():
        figure = new_figure(PANEL_WIDTH, height)
        axes = figure.add_axes(axes_box(PANEL_WIDTH, height, 52, 12, 24, 38))
        if panel.reference is not None:
            level = colour("muted")
            axes.axhline(panel.reference, color=level, linewidth=1, linestyle=(0, (2, 2)))
        for index, line in enumerate(panel.lines):
            faint = crowded and not line.strong and line.style.colour != "ink"
            axes.plot(
                line.x,
                line.y,
                color=colour(line.style.colour),
                linestyle=line.style.dash,
                linewidth=2.4 if line.strong else 1.0 if faint else 1.6,
                alpha=0.65 if faint else 1.0,
                marker=line.style.marker or None,
                markersize=5 * marker_scale(line.style.marker),
                markeredgewidth=0,
                # Markers sit at different epochs, so that lines on top of each other show.
                markevery=_marks(len(line.x), index, len(panel.lines)),
                zorder=4 if line.strong else 3,
            )
        axes.set_ylim(panel.limits)
        axes.set_xlabel("epoch", fontsize=10)
        axes.set_title(panel.y_label, loc="left", fontsize=10, color=colour("muted"))
        axes.grid(axis="y", color=colour("rule"), linewidth=0.8)
        axes.spines["left"].set_visible(False)
        axes.set_axisbelow(True)
        few_ticks(axes.xaxis, 6, whole=True)
        few_ticks(axes.yaxis, 5)
        return to_svg(figure, f"{what}: {panel.title}")


def dot(axes: Axes, x: float, y: float, style: Style) -> None:
    """A marker in the style of its model, with a rim that parts it from what it covers."""
    axes.plot(
        [x],
        [y],
        marker=style.marker or "o",
        markersize=8 * marker_scale(style.marker),
        color=colour(style.colour),
        markeredgecolor=colour("paper"),
        markeredgewidth=1,
        linestyle="none",
        zorder=5,
        clip_on=False,
    )


def swatch(style: Style) -> Markup:
    """The sign of a model: its line and marker, as in the plots."""
    dashes = {"dashed": "5 3", "dotted": "1.5 2.5"}.get(style.dash, "")
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    mark = f'<path d="{marker_path(style.marker)}"/>' if style.marker else ""
    return Markup(
        f'<svg class="swatch" viewBox="-14 -7 28 14" aria-hidden="true" '
        f'style="color:var(--{style.colour})"><path class="line" d="M-13 0H13"{dash}/>{mark}</svg>'
    )


def _marks(length: int, index: int, lines: int) -> tuple[int, int]:
    every = max(1, length // 5)
    return (min(length - 1, round(every * (index + 0.5) / max(1, lines))), every)


def few_ticks(axis: Any, most: int, whole: bool = False) -> None:
    """At most `most` ticks, at round numbers, written like the numbers of the page."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(_tick))


def _tick(value: float, position: int | None = None) -> str:
    text = f"{value:,.6g}" if abs(value) < 1e9 else f"{value:.3g}"
    return text.replace("-", "\u2212").replace(",", "\u202f")


def axes_box(
    width: float, height: float, left: float, right: float, top: float, bottom: float
) -> tuple[float, float, float, float]:
    """Axes rectangle in figure fractions, from margins in pixels."""
    return (
        left / width,
        bottom / height,
        (width - left - right) / width,
        (height - top - bottom) / height,
    )
