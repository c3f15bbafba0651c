"""A selection of helper tasks in a terminal: the verdict, each finalist, each set, the screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table

from polytask.report.canvas import TONES, Canvas
from polytask.report.numbers import (
    DASH,
    column_decimals,
    interval_decimals,
    interval_text,
    number,
    plus_minus,
    ratio,
    said_undefined,
)
from polytask.report.results import triple
from polytask.report.selection_cells import (
    agreement_reading,
    agreement_text,
    bandit_text,
    why_undefined,
)
from polytask.report.selection_results import Selection
from polytask.report.words import incomplete, sentence

MOST_SCREENED = 20
"""Candidates of the screen that are shown; the report has all."""
WIDE = 100


class SelectionVerdict:
    """A rich renderable that lays itself out for the width it is given."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        """Panel, tables and remarks for this console."""
        yield _Layout(self.selection, console, options).everything()


class _Layout(Canvas):
    """One drawing for one width and one alphabet."""

    def __init__(self, selection: Selection, console: Console, options: ConsoleOptions) -> None:
        super().__init__(console, options)
        self.selection = selection

    def everything(self) -> RenderableType:
        selection, main = self.selection, self.selection.main
        parts: list[RenderableType] = []
        if warning := incomplete(selection.results):
            parts += [self.text(f"Incomplete. {warning}", "yellow"), self.text("")]
        parts.append(self.panel(selection.results.name, *sentence(selection.results)))
        if selection.helpers:
            title = f"Helpers: gain on test in % of {main} alone (positive = better)"
            parts += [self.text(title, "bold"), self.helper_table()]
        if selection.sets:
            parts += [self.text(f"Sets of helpers, judged by {main}", "bold"), self.set_table()]
        if selection.screen:
            title = f"The screen: gradient agreement with {main}"
            title += ", and rate of success in the trial" if selection.tried else ""
            parts += [self.text(title, "bold"), self.screen_table()]
        parts += [self.text(line, "dim") for line in self.footer()]
        return Group(*parts)

    def helper_table(self) -> Table:
        """The word on each finalist and what it adds, alone and to the others."""
        helpers = self.selection.helpers
        table = self.table()
        table.add_column("helper", overflow="fold", max_width=24)
        table.add_column("verdict", no_wrap=True)
        table.add_column("added alone", justify="right", no_wrap=True)
        table.add_column("to the others", justify="right", no_wrap=True)
        if self.width >= WIDE:
            table.add_column("seeds", justify="right", no_wrap=True)
        questions = [[triple(getattr(h, q), "") for h in helpers] for q in ("add", "leave")]
        decimals = [interval_decimals(column) for column in questions]
        for helper, *gains in zip(helpers, *questions, strict=True):
            row = [
                self.text(helper.task),
                self.text(f"{helper.sign} {helper.word}", TONES[helper.tone]),
                *(self.text(interval_text(g, d)) for g, d in zip(gains, decimals, strict=True)),
            ]
            if self.width >= WIDE:
                row.append(self.text(helper.seeds))
            table.add_row(*row)
        return table

    def set_table(self) -> Table:
        """Score, gain over the main task alone and step cost of every set."""
        sets = self.selection.sets
        table = self.table()
        table.add_column("main task with", overflow="fold", max_width=30)
        table.add_column(self.text(self.selection.metric), justify="right", no_wrap=True)
        table.add_column("gain % [95 %]", justify="right", no_wrap=True)
        table.add_column("step", justify="right", no_wrap=True)
        decimals = interval_decimals(entry.gain for entry in sets)
        digits = column_decimals(
            (entry.raw.get("mean") for entry in sets), (entry.raw.get("sd") for entry in sets)
        )
        for entry in sets:
            label = f"{entry.name} (chosen)" if entry.chosen else entry.name
            relative = entry.cost("relative")
            score = entry.raw.get("mean")
            shown = said_undefined(score)
            if number(score) is not None:
                shown = plus_minus(score, entry.raw.get("sd"), digits)
            table.add_row(
                self.text(label, "bold" if entry.chosen else ""),
                self.text(shown),
                self.text(interval_text(entry.gain, decimals) if entry.helpers else "0"),
                self.text(DASH if number(relative) is None else ratio(relative)),
            )
        return table

    def screen_table(self) -> Table:
        """The evidence on the candidates, the best first."""
        selection = self.selection
        table = self.table()
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("candidate", overflow="fold", max_width=28)
        table.add_column("agreement", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        if selection.tried:
            table.add_column("success", justify="right", no_wrap=True)
        for entry in selection.screen[:MOST_SCREENED]:
            style = "" if entry.get("finalist") else "dim"
            reading = agreement_reading(entry)
            row = [
                self.text(entry.get("rank", ""), style),
                self.text(entry.get("task", ""), style),
                self.text(agreement_text(entry), style),
                self.text(reading, "red" if reading == "fights" else style),
            ]
            if selection.tried:
                row.append(self.text(bandit_text(entry), style))
            table.add_row(*row)
        return table

    def footer(self) -> list[str]:
        """How sure it is, how to read the tables, what failed."""
        note = str(self.selection.results.section("verdict").get("confidence_note") or "")
        lines = [note] if note else []
        if len(self.selection.screen) > MOST_SCREENED:
            lines.append(f"{len(self.selection.screen) - MOST_SCREENED} more are in the report.")
        reasons = {why: str(e["task"]) for e in self.selection.screen if (why := why_undefined(e))}
        lines += [f"agreement of {task} is undefined: {why}." for why, task in reasons.items()]
        if self.selection.helpers:
            lines.append(
                "verdict: on adding the helper alone; to the others: all finalists against all but "
                "this one; step: time of a step, multiple of the main task alone."
            )
        return lines + self.selection.failures
