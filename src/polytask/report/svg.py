"""From a matplotlib figure to an SVG that lives inside a page.

Figures are drawn in colour tokens ("ink", "c0", ...). Each token has a hex value that occurs
nowhere else, and is replaced by a CSS variable afterwards: one drawing serves light and dark.
Text stays text, in the page's own font; ids are dropped, so that many plots share a page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from polytask.errors import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOKENS = ("ink", "muted", "rule", "paper", "c0", "c1", "c2", "c3", "c4", "c5", "c6")
_HEX = {token: f"#0{index:x}fe01" for index, token in enumerate(TOKENS, start=1)}

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a column called "$x$" is a name, not a formula
    "font.size": 11,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "path.simplify_threshold": 0.5,
}


def colour(token: str) -> str:
    """The hex stand-in of a colour token, for matplotlib."""
    return _HEX[token]


def settings(paint: Callable[[str], str] = colour) -> Any:
    """A context manager with the house's matplotlib settings; leaves the user's alone.

    `paint` gives the colour of a token; by default its stand-in.
    """
    matplotlib = _matplotlib()
    tones = {key: paint("muted") for key in ("xtick.color", "ytick.color", "axes.labelcolor")}
    more = {"text.color": paint("ink"), "axes.edgecolor": paint("rule")}
    return matplotlib.rc_context(_SETTINGS | tones | more)


def new_figure(width: float, height: float) -> Figure:
    """An empty transparent figure of `width` x `height` CSS pixels, outside pyplot."""
    _matplotlib()
    from matplotlib.figure import Figure

    # At 72 dots an inch a point, a display unit and a CSS pixel are the same length.
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    return figure


def to_svg(figure: Figure, label: str) -> Markup:
    """The figure as one `<svg>` element that scales with its box.

    `label` is what a screen reader says. Call within `settings()`.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    # Ids that plots refer to (clips, markers) must differ between the plots of a page.
    with warnings.catch_warnings(), _matplotlib().rc_context({"svg.hashsalt": label}):
        # Text is laid out with matplotlib's font and shown in the browser's, which has the glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(buffer, format="svg", metadata=nothing)
    return Markup(_tidy(buffer.getvalue(), label))


def _tidy(text: str, label: str) -> str:
    body = text[text.index("<svg") :]
    opening, body = body.split(">", 1)
    view = re.search(r'viewBox="([^"]+)"', opening)
    if view is None:
        raise ValueError("expected a viewBox in the SVG that matplotlib wrote, found none")
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.S)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<[^>]*>", lambda tag: _tidy_tag(tag.group()), body)
    body = re.sub(r">\s*\n\s*<", "><", body)
    while "<g></g>" in body:
        body = body.replace("<g></g>", "")
    body = body.replace("<g/>", "")
    box = view.group(1)
    width = round(float(box.split()[2]))
    return (
        f'<svg class="plot" viewBox="{box}" style="max-width:{width}px" role="img" '
        f'aria-label="{escape(label)}">{body.strip()}'
    )


def _tidy_tag(tag: str) -> str:
    """One tag made short; text between tags is the user's and stays as it is."""
    tag = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", tag)  # nothing refers to groups
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", tag)
    tag = re.sub(r"(\d+\.\d\d)\d+", r"\1", tag)  # a hundredth of a pixel is fine enough
    tag = re.sub(r"\s*\n\s*", " ", tag).replace("xlink:href", "href")
    for token, value in _HEX.items():
        tag = tag.replace(value, f"var(--{token})")
    return tag


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as cause:
        raise need("matplotlib", "app", "drawing the report's plots") from cause
    return matplotlib


def marker_scale(marker: str) -> float:
    """Factor that makes thin shapes weigh as much as a disc."""
    return {"*": 1.5, "P": 1.25, "X": 1.15, "p": 1.15, "h": 1.1}.get(marker, 1.0)


def marker_path(marker: str) -> str:
    """The outline of a matplotlib marker as an SVG path within about ±5 around the origin."""
    _matplotlib()
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(marker)
    outline = style.get_path().transformed(style.get_transform())
    scale = 10 * marker_scale(marker)
    pieces = []
    for polygon in outline.to_polygons():
        corners = np.asarray(polygon)
        points = " L".join(f"{scale * x:.1f} {-scale * y:.1f}" for x, y in corners)
        pieces.append(f"M{points}Z")
    return "".join(pieces)
