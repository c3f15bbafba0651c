"""A page of the report as data: what it shows, its tables with their numbers, its tags."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from polytask.report.html import render
from polytask.report.results import read

Study = dict[str, Any]
Table = list[list[tuple[str, float | None]]]
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """Visible text, tables as rows of (text, data-value), tags; fails on tags that do not match.

    `classes` holds the class of every table, in the order of `tables`.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[Table] = []
        self.classes: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
            self.classes.append(dict(attrs).get("class") or "")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            value = dict(attrs).get("data-value")
            self.tables[-1][-1].append(("", None if value is None else float(value)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of_class(self, name: str) -> list[Table]:
        """The tables of a class."""
        pairs = zip(self.tables, self.classes, strict=True)
        return [table for table, given in pairs if name in given.split()]

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "td" in self.open or "th" in self.open:
            text, value = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (text + data, value)


def page(study: Study) -> Page:
    """The page of one study."""
    return Page(render(read(study)))


def row_of(table: Table, label: str) -> list[float | None]:
    """The numbers of the first row whose heading starts with `label`."""
    return next([value for _, value in row[1:]] for row in table if row[0][0].startswith(label))
