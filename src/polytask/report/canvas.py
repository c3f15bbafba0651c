"""Laying out text and tables for a terminal of some width and alphabet.

What is drawn fits the width, leaves columns out rather than wrapping them, and stays readable
where there is no colour and no Unicode: every sign has a word beside it and an ASCII form.
"""

from __future__ import annotations

import re

from rich.box import ASCII2, SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from polytask.report.numbers import DASH, MINUS, THIN, TIMES

TONES = {"good": "green", "bad": "red", "none": "dim"}
_ASCII = str.maketrans(
    {
        "Δ": "delta-", "±": "+-", MINUS: "-", TIMES: "x", "↑": "(max)", "↓": "(min)", DASH: "-",
        THIN: " ", "▲": "+", "△": "+", "▼": "-", "▽": "-", "●": "=", "○": "?", "“": '"',
        "”": '"', "…": "...", "·": "-",
    }
)  # fmt: skip

_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


class Canvas:
    """One console at one width: texts, panels and tables made for it."""

    def __init__(self, console: Console, options: ConsoleOptions) -> None:
        self.console = console
        self.options = options
        self.width = options.max_width
        self.ascii_only = options.ascii_only

    def text(self, words: object, style: str = "") -> Text:
        """Text that is never read as markup and holds nothing a terminal would obey."""
        said = "".join(c if c.isprintable() or c in "\n" + THIN else "\ufffd" for c in str(words))
        if self.ascii_only:
            said = re.sub("[⁻⁰¹²³⁴-⁹]+", lambda found: f"^{found[0].translate(_RAISED)}", said)
            said = said.translate(_ASCII).encode("ascii", "replace").decode("ascii")
        return Text(said, style=style)

    def panel(self, title: str, first: str, more: str) -> RenderableType:
        """The verdict in a box: its first sentence bold, the rest plain."""
        lines = [self.text(first, "bold")]
        lines += [self.text(more)] if more else []
        return Panel(
            Group(*lines),
            title=self.text(title),
            title_align="left",
            width=min(self.width, 100),
            box=ASCII2 if self.ascii_only else Panel("").box,
        )

    def table(self) -> Table:
        """An empty table."""
        return Table(box=ASCII2 if self.ascii_only else SIMPLE_HEAD, pad_edge=False)

    def fits(self, table: Table) -> bool:
        """Whether the table has room for every name and number in one line."""
        wanted = Measurement.get(self.console, self.options.update(max_width=1000), table)
        return wanted.maximum <= self.width
