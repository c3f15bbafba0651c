"""A study of task relationships in a terminal: the groups, each arrangement, what beats what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table

from polytask.report.canvas import TONES, Canvas
from polytask.report.numbers import (
    DASH,
    bare_p,
    count,
    interval_decimals,
    interval_text,
    number,
    ratio,
)
from polytask.report.relation_plots import against
from polytask.report.relation_results import Relation
from polytask.report.relation_scale import Scale
from polytask.report.relation_tables import BRANCHED, CONTRASTED, contrast_word
from polytask.report.results import triple
from polytask.report.words import VERDICTS, incomplete, sentence

WIDE = 100
MOST_TASKS = 20
"""More tasks than this are named network by network; the report has each of them."""


class RelationVerdict:
    """A rich renderable that lays itself out for the width it is given."""

    def __init__(self, relation: Relation) -> None:
        self.relation = relation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        """Panel, tables and remarks for this console."""
        yield _Layout(self.relation, console, options).everything()


class _Layout(Canvas):
    """One drawing for one width and one alphabet."""

    def __init__(self, relation: Relation, console: Console, options: ConsoleOptions) -> None:
        super().__init__(console, options)
        self.relation = relation

    def everything(self) -> RenderableType:
        relation = self.relation
        parts: list[RenderableType] = []
        if warning := incomplete(relation.results):
            parts += [self.text(f"Incomplete. {warning}", "yellow"), self.text("")]
        parts.append(self.panel(relation.results.name, *sentence(relation.results)))
        if relation.shares:
            by = relation.deciding.label if relation.deciding else "the affinities"
            many = len(relation.serving) > MOST_TASKS
            table = self.network_table() if many else self.group_table()
            parts += [self.text(f"Recommended networks, by {by}", "bold"), table]
        if relation.arrangements:
            title = "Arrangements: Δm on test in %, positive = better than training each alone"
            parts += [self.text(title, "bold"), self.arrangement_table()]
        if relation.contrasts:
            parts += [self.text(CONTRASTED, "bold"), self.contrast_table(relation.contrasts)]
        if relation.branched:
            parts += [self.text(BRANCHED, "bold"), self.contrast_table(relation.branched)]
        parts += [self.text(line, "dim") for line in self.footer()]
        return Group(*parts)

    def network_table(self) -> Table:
        """A row a network: the tasks that it serves."""
        table = self.table()
        table.add_column("network", no_wrap=True)
        table.add_column("tasks", justify="right", no_wrap=True)
        table.add_column("it serves", overflow="fold")
        for share in self.relation.shares:
            served = self.text(", ".join(share.serves))
            table.add_row(self.text(share.letter, "bold"), str(len(share.serves)), served)
        return table

    def group_table(self) -> Table:
        """A row a task: its network, what it should gain there, and what it did."""
        relation = self.relation
        deciding, entry = relation.deciding, relation.recommended
        scale = deciding.scale if deciding is not None else Scale()
        table = self.table()
        table.add_column("network", no_wrap=True)
        table.add_column("task", overflow="fold", max_width=34)
        unit = f" {scale.unit}" if scale.power else ""
        table.add_column(self.text(f"predicted{unit}"), justify="right", no_wrap=True)
        if entry is not None:
            table.add_column(self.text("gain % [95 %]"), justify="right", no_wrap=True)
            table.add_column("", no_wrap=True)
        gains = {t: triple(entry.task(t), "gain_") for t in relation.serving} if entry else {}
        decimals = interval_decimals(gains.values())
        for share in relation.shares:
            for place, task in enumerate(share.serves):
                row = [
                    self.text("" if place else share.letter, "bold"),
                    self.text(task),
                    self.text(scale.text(share.predicted.get(task))),
                ]
                if entry is not None:
                    word = str(entry.task(task).get("word") or "")
                    sign, tone = VERDICTS.get(word, ("", "none"))
                    row.append(self.text(interval_text(gains[task], decimals)))
                    row.append(self.text(f"{sign} {word}".strip(), TONES[tone]))
                table.add_row(*row)
            along = [task for task in share.tasks if task not in share.serves]
            if along:
                table.add_row("", self.text(f"(with {', '.join(along)})", "dim"))
        return table

    def arrangement_table(self) -> Table:
        """Networks, step cost and Δm of every arrangement."""
        entries = self.relation.arrangements
        table = self.table()
        table.add_column("arrangement", overflow="fold", max_width=34)
        table.add_column("networks", justify="right", no_wrap=True)
        if self.width >= WIDE:
            table.add_column("parameters", justify="right", no_wrap=True)
        table.add_column("step", justify="right", no_wrap=True)
        table.add_column(self.text("Δm [95 %]"), justify="right", no_wrap=True)
        decimals = interval_decimals(entry.delta_m for entry in entries)
        for entry in entries:
            networks, size, step = (entry.raw.get(k) for k in ("networks", "parameters", "step"))
            row = [
                self.text(entry.name, "bold" if entry.chosen else ""),
                self.text(DASH if number(networks) is None else count(networks)),
            ]
            if self.width >= WIDE:
                row.append(self.text(DASH if number(size) is None else count(size)))
            row.append(self.text(DASH if number(step) is None else ratio(step)))
            gain = "0" if entry.reference else interval_text(entry.delta_m, decimals)
            row.append(self.text(gain))
            table.add_row(*row)
        return table

    def contrast_table(self, entries: Sequence[Mapping[str, Any]]) -> Table:
        """A row a comparison: its word, the difference and how sure it is."""
        relation = self.relation
        table = self.table()
        table.add_column("against", overflow="fold", max_width=26)
        table.add_column("verdict", no_wrap=True)
        table.add_column(self.text("points of Δm [95 %]"), justify="right", no_wrap=True)
        table.add_column("p", justify="right", no_wrap=True)
        decimals = interval_decimals(triple(entry, "") for entry in entries)
        for entry in entries:
            word, sign, tone = contrast_word(entry)
            table.add_row(
                self.text(against(relation, str(entry.get("theirs")))),
                self.text(f"{sign} {word}", TONES[tone]),
                self.text(interval_text(triple(entry, ""), decimals)),
                self.text(bare_p(entry.get("p_holm"))),
            )
        return table

    def footer(self) -> list[str]:
        """How sure it is, how to read the tables, what failed."""
        relation = self.relation
        note = str(relation.results.section("verdict").get("confidence_note") or "")
        lines = [note] if note else []
        if relation.arrangements:
            lines.append(
                "step: one step of every network, multiple of one network for all; p: Holm."
            )
        lines += [
            f"{entry.label} is undefined: {entry.why}."
            for entry in relation.estimators
            if entry.affinity is None and entry.why not in note
        ]
        return lines + relation.failures
