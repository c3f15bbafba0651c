"""The overview of several studies: Δm of every method in every one of them, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from markupsafe import Markup

from polytask.report.merged import Method
from polytask.report.names import columns, short
from polytask.report.numbers import number, numbers, signed
from polytask.report.plot_data import GAIN, Limits
from polytask.report.plots import FOREST_WIDTH, axes_box, dot, few_ticks
from polytask.report.svg import colour, new_figure, settings, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEP, _GAP = 11, 15  # heights of a method and of the space between two studies
_LABEL = 24
_WILD = 4.0  # an interval that reaches so many times farther than the usual one is cut


def overview_svg(labels: Sequence[str], methods: Sequence[Method]) -> Markup:
    """A band a study, in it a point with its 95 % interval for every method, in their order."""
    bands = [_band(methods, place) for place in range(len(labels))]
    height = 8 + 40 + sum(_STEP * max(1, len(band)) + _GAP for band in bands)
    left = 16 + 7.2 * max((columns(short(label, _LABEL)) for label in labels), default=4)
    limits = overview_limits(methods)
    with settings():
        figure = new_figure(FOREST_WIDTH, height)
        axes = figure.add_axes(axes_box(FOREST_WIDTH, height, left, 14, 8, 40))
        axes.axvline(0, color=colour("muted"), linewidth=1)
        y = _GAP / 2
        inner = FOREST_WIDTH - left - 14
        for label, band in zip(labels, bands, strict=True):
            middle = y + _STEP * max(0, len(band) - 1) / 2
            axes.text(
                -10 / inner,
                middle,
                short(label, _LABEL),
                ha="right",
                va="center",
                fontsize=12,
                transform=axes.get_yaxis_transform(),
            )
            for method, (mean, low, high) in band:
                ink = colour(method.style.colour)
                if low is not None and high is not None:
                    axes.plot([low, high], [y, y], color=ink, linewidth=1.4, alpha=0.75)
                if limits[0] <= mean <= limits[1]:
                    dot(axes, mean, y, method.style)
                else:
                    _beyond(axes, mean, y, limits)
                y += _STEP
            y += _GAP + (0 if band else _STEP)
            if label != labels[-1]:
                axes.axhline(y - (_STEP + _GAP) / 2, color=colour("rule"), linewidth=0.8)
        axes.set_ylim(y - _GAP / 2 - _STEP / 2, -_STEP / 2)
        axes.set_xlim(limits)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        few_ticks(axes.xaxis, 5)
        axes.set_xlabel(GAIN, fontsize=11)
        return to_svg(figure, "Δm of every method in every study")


def overview_limits(methods: Sequence[Method]) -> Limits:
    """Limits that hold zero and all intervals, but for wild ones that would flatten the rest."""
    gains = [gain for method in methods for gain in method.gains if gain is not None]
    reaches = [max(map(abs, ends)) for gain in gains if (ends := numbers(gain))]
    if not reaches or max(reaches) == 0:
        return (-1.0, 1.0)
    most = min(max(reaches), _WILD * median(reaches) or max(reaches))
    ends = [min(most, max(-most, end)) for gain in gains for end in numbers(gain)]
    low, high = min([*ends, 0.0]), max([*ends, 0.0])
    air = 0.06 * (high - low)
    return (low - air, high + air)


def is_cut(methods: Sequence[Method]) -> bool:
    """Whether something reaches beyond the limits."""
    low, high = overview_limits(methods)
    ends = [end for m in methods for gain in m.gains if gain is not None for end in numbers(gain)]
    return any(not low <= end <= high for end in ends)


def _beyond(axes: Axes, mean: float, y: float, limits: Limits) -> None:
    """An arrow with the number, at the edge behind which the point lies."""
    left = mean < limits[0]
    text = f"← {signed(mean, 1)}" if left else f"{signed(mean, 1)} →"
    side = "left" if left else "right"
    place = limits[0] if left else limits[1]
    axes.text(place, y, text, ha=side, va="bottom", fontsize=10, color=colour("muted"))


def _band(
    methods: Sequence[Method], place: int
) -> list[tuple[Method, tuple[float, float | None, float | None]]]:
    """What there is to draw of one study."""
    band = []
    for method in methods:
        mean, low, high = (number(value) for value in method.gains[place] or (None, None, None))
        if mean is not None:
            band.append((method, (mean, low, high)))
    return band
