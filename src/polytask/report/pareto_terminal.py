"""A front of trade-offs in a terminal: the verdict, every point, what preferences do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table

from polytask.report.canvas import Canvas
from polytask.report.numbers import (
    column_decimals,
    number,
    plus_minus,
    said_undefined,
    signed,
)
from polytask.report.pareto_results import Front
from polytask.report.pareto_words import steering_lines, volume_sentence
from polytask.report.words import incomplete, sentence

MOST_SHOWN = 4
"""Tasks with a column of their own; the report has all."""


class FrontVerdict:
    """A rich renderable that lays itself out for the width it is given."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        """Panel, tables and remarks for this console."""
        yield _Layout(self.front, console, options).everything()


class _Layout(Canvas):
    """One drawing for one width and one alphabet."""

    def __init__(self, front: Front, console: Console, options: ConsoleOptions) -> None:
        super().__init__(console, options)
        self.front = front

    def everything(self) -> RenderableType:
        front = self.front
        parts: list[RenderableType] = []
        if warning := incomplete(front.results):
            parts += [self.text(f"Incomplete. {warning}", "yellow"), self.text("")]
        parts.append(self.panel(front.results.name, *sentence(front.results)))
        parts += [self.text("Trade-offs on test, and gain over single-task", "bold"), self.points()]
        if lines := steering_lines(front):
            said = "Where a task counts most, against where it counts least"
            parts += [self.text(said, "bold"), *(self.text(line) for line in lines), self.text("")]
        parts += [self.text(line, "dim") for line in self.footer()]
        return Group(*parts)

    def points(self) -> Table:
        """Every point with its scores; fewer tasks where the width does not hold them."""
        tasks = self.front.tasks[:MOST_SHOWN]
        while len(tasks) > 1 and not self.fits(self._table(tasks)):
            tasks = tasks[:-1]
        return self._table(tasks)

    def _table(self, tasks: list[str]) -> Table:
        front = self.front
        table = self.table()
        table.add_column("preference", overflow="fold", max_width=26)
        table.add_column("front", no_wrap=True)
        for task in tasks:
            heading = self.text(f"{task}\n{front.metric(task)}")
            table.add_column(heading, justify="right", no_wrap=True)
        digits = {
            task: column_decimals(
                (point.task(task).get("mean") for point in front.points),
                (point.task(task).get("sd") for point in front.points),
            )
            for task in tasks
        }
        for point in front.points:
            style = "" if point.front else "dim"
            row = [
                self.text(f"{point.number}: {point.name}", style),
                self.text({True: "yes", False: "no", None: "?"}[point.front], style),
            ]
            for task in tasks:
                shown = self._score(point.task(task), digits[task])
                gain = number(point.gain(task)[0])
                shown += "" if gain is None else f"\n{signed(gain, 1)} %"
                row.append(self.text(shown, style))
            table.add_row(*row)
        alone = [self._score(front.single(task), digits[task]) for task in tasks]
        table.add_row(*(self.text(word, "dim") for word in ("each task alone", "", *alone)))
        return table

    @staticmethod
    def _score(entry: Any, digits: int) -> str:
        mean = entry.get("mean")
        if number(mean) is None:
            return said_undefined(mean)
        return plus_minus(mean, entry.get("sd"), digits)

    def footer(self) -> list[str]:
        """The hypervolume, how sure it is, what was left out, what failed."""
        front = self.front
        lines = [volume_sentence(front)]
        note = str(front.results.section("verdict").get("confidence_note") or "")
        lines += [note] if note else []
        lines += [str(said) for said in front.raw.get("remarks") or []]
        if len(front.tasks) > MOST_SHOWN:
            lines.append(f"{len(front.tasks) - MOST_SHOWN} more tasks are in the report.")
        return lines + front.failures
