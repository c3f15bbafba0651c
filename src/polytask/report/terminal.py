"""The verdict in a terminal: a panel in words, a table of tasks, a table of candidates.

It fits 80 columns, see `polytask.report.canvas`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table

from polytask.report.canvas import TONES, Canvas
from polytask.report.kinds import PARETO, RELATION, SELECTION, kind_of, raw_of
from polytask.report.numbers import (
    DASH,
    column_decimals,
    fixed,
    interval_decimals,
    interval_text,
    memory,
    number,
    ratio,
    reason,
    said_undefined,
)
from polytask.report.regularization_words import terminal_line
from polytask.report.results import Results, mapping, read
from polytask.report.words import DIRECTION, incomplete, remarks, sentence, verdict_of


class Verdict:
    """A rich renderable that lays itself out for the width it is given."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        """Panel, tables and remarks for this console."""
        yield _Layout(self.results, console, options).everything()


class _Layout(Canvas):
    """One drawing of the results for one width and one alphabet."""

    def __init__(self, results: Results, console: Console, options: ConsoleOptions) -> None:
        super().__init__(console, options)
        self.results = results

    def everything(self) -> RenderableType:
        results = self.results
        parts: list[RenderableType] = []
        if warning := incomplete(results):
            parts += [self.text(f"Incomplete. {warning}", "yellow"), self.text("")]
        parts.append(self.panel(results.name, *sentence(results)))
        if results.tasks:
            name = results.chosen.label if results.chosen else "no candidate yet"
            title = f"Tasks: {name} against single-task on test (positive = better)"
            full = self.task_table(scores=results.chosen is not None)
            parts += [self.text(title, "bold"), full if self.fits(full) else self.task_table()]
        if results.candidates:
            title = f"Candidates: Δm on test in %, {DIRECTION}"
            parts += [self.text(title, "bold"), self.candidate_table()]
        parts += [self.text(line, "dim") for line in self.footer()]
        return Group(*parts)

    def task_table(self, scores: bool = False) -> Table:
        """Verdict and gain of the chosen candidate, one row per task; with its scores if asked."""
        results, chosen = self.results, self.results.chosen
        table = self.table()
        table.add_column("task", overflow="fold", max_width=42)
        table.add_column("verdict", no_wrap=True)
        table.add_column(self.text("gain % [95 %]"), justify="right", no_wrap=True)
        if scores:
            table.add_column("metric", no_wrap=True)
            table.add_column("single", justify="right", no_wrap=True)
            table.add_column(self.text("chosen"), justify="right", no_wrap=True)
        gains = {task: chosen.gain(task) if chosen else (None,) * 3 for task in results.tasks}
        decimals = interval_decimals(gains.values())
        for task, gain in gains.items():
            word, sign, tone, _ = verdict_of(results, task)
            row = [
                self.text(task),
                self.text(f"{sign} {word}", TONES[tone]),
                self.text(interval_text(gain, decimals) if chosen else DASH),
            ]
            if scores and chosen is not None:
                single, ours = results.single_task.get(task) or {}, chosen.task(task)
                both = [single.get("mean"), ours.get("mean")]
                digits = column_decimals(both, [single.get("sd"), ours.get("sd")])
                metric = f"{results.tasks[task].get('metric', '')} {results.arrow(task)}"
                row.append(self.text(metric))
                row += [self.text(_plain(value, digits)) for value in both]
            table.add_row(*row)
        return table

    def candidate_table(self) -> Table:
        """Δm, rank and cost, one row per candidate."""
        results = self.results
        wide = self.width >= 100
        timed = any(mapping(c.raw.get("equal_time")) for c in results.candidates)
        table = self.table()
        table.add_column("candidate", overflow="fold", min_width=10, max_width=32)
        table.add_column(self.text("Δm [95 %]"), justify="right", no_wrap=True)
        if timed and self.width >= 70:
            table.add_column(self.text("at equal cost"), justify="right", no_wrap=True)
        table.add_column("rank", justify="right", no_wrap=True)
        table.add_column("cost", justify="right", no_wrap=True)
        if wide:
            table.add_column("memory", justify="right", no_wrap=True)
            table.add_column("notes", overflow="fold")
        decimals = interval_decimals(c.delta_m for c in results.candidates)
        at_cost = interval_decimals(c.equal_time for c in results.candidates)
        for candidate in results.candidates:
            tags = ["chosen"] if candidate.chosen else []
            tags += ["baseline"] if candidate.baseline else []
            tags += [f"{len(candidate.failed)} failed"] if candidate.failed else []
            label = candidate.label
            if tags and not wide:
                label += f" ({', '.join(tags)})"
            row = [
                self.text(label, "bold" if candidate.chosen else ""),
                self.text(interval_text(candidate.delta_m, decimals)),
            ]
            if timed and self.width >= 70:
                known = mapping(candidate.raw.get("equal_time"))
                row.append(
                    self.text(interval_text(candidate.equal_time, at_cost) if known else DASH)
                )
            row.append(self.text(_known(candidate.raw.get("mean_rank"), _rank)))
            row.append(self.text(_known(candidate.cost("relative"), ratio)))
            if wide:
                row.append(self.text(_known(candidate.cost("peak_memory_mb"), memory)))
                row.append(self.text(", ".join(tags)))
            table.add_row(*row)
        return table

    def footer(self) -> list[str]:
        """How sure it is, how to read the tables, why something is undefined, what failed."""
        note = self.results.section("verdict").get("confidence_note")
        lines = [*([str(note)] if note else []), *remarks(self.results)]
        if self.results.candidates:
            lines.append("cost: time of a step, multiple of equal weights; rank: 1 = best.")
        lines += terminal_line(self.results)
        chosen = self.results.chosen
        for task in self.results.tasks if chosen else ():
            value = chosen.gain(task)[0] if chosen else None
            if value is not None and number(value) is None:
                lines.append(f"{task} is undefined: {reason(value)}.")
        return lines + self.results.failures


def _plain(value: Any, decimals: int) -> str:
    found = number(value)
    return said_undefined(value) if found is None else fixed(found, decimals)


def _known(value: Any, shown: Callable[[object], str]) -> str:
    return DASH if number(value) is None else shown(value)


def _rank(value: Any) -> str:
    return _plain(value, 1)


def verdict_renderable(results: Mapping[str, Any] | Path | str) -> Any:
    """What `rich` prints for a study: a dict of results, a `results.json` or its folder.

    Raises:
        UserError: `results` are not a study's results.
    """
    kind = kind_of(raw := raw_of(results))
    if kind == SELECTION:
        from polytask.report.selection_results import read_selection
        from polytask.report.selection_terminal import SelectionVerdict

        return SelectionVerdict(read_selection(raw))
    if kind == RELATION:
        from polytask.report.relation_results import read_relation
        from polytask.report.relation_terminal import RelationVerdict

        return RelationVerdict(read_relation(raw))
    if kind == PARETO:
        from polytask.report.pareto_results import read_front
        from polytask.report.pareto_terminal import FrontVerdict

        return FrontVerdict(read_front(raw))
    return Verdict(read(results))


def print_verdict(results: Mapping[str, Any] | Path | str, file: IO[str] | None = None) -> None:
    """Print the verdict to `file` (standard output when None).

    Raises:
        UserError: `results` are not a study's results.
    """
    Console(file=file, highlight=False).print(verdict_renderable(results))
