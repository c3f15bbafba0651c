"""The report's tables: one row per model, one column per question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from polytask.report.cells import NOTHING, Cell, Column, Footnotes, Row, Table
from polytask.report.cost_table import measured, single_task_costs
from polytask.report.numbers import (
    TIMES,
    bracket,
    column_decimals,
    fixed,
    interval_decimals,
    memory,
    number,
    numbers,
    p_value,
    ratio,
    signed,
)
from polytask.report.results import BOOSTING_STYLE, SINGLE_STYLE, Candidate, Results, mapping
from polytask.report.words import SIGNIFICANT, VERDICT_SEEDS

_ONE_TABLE = 2  # with more tasks the scores get tables of their own, which fit a screen
_BLOCK = 6


def main_tables(results: Results, notes: Footnotes) -> list[Table]:
    """Δm, rank and cost beside the scores when they fit, else the scores in blocks of tasks."""
    tasks = list(results.tasks)
    summary = _summary(results, notes)
    if len(tasks) <= _ONE_TABLE:
        scores = _scores(results, tasks, notes)
        # The constant predictor before them and boosting after them have no row in the summary.
        empty = tuple(NOTHING for _ in summary.columns)
        cells = [empty, *(row.cells for row in summary.rows), empty][: len(scores.rows)]
        rows = (replace(r, cells=c + r.cells) for c, r in zip(cells, scores.rows, strict=True))
        return [Table("", summary.columns + scores.columns, tuple(rows))]
    blocks = -(-len(tasks) // _BLOCK)
    size = -(-len(tasks) // blocks)
    parts = [tasks[start : start + size] for start in range(0, len(tasks), size)]
    blocks_of_scores = [
        replace(
            _scores(results, part, notes),
            caption="Scores on test"
            if blocks == 1
            else f"Scores on test, tasks {1 + size * index} to {size * index + len(part)}",
        )
        for index, part in enumerate(parts)
    ]
    return [replace(summary, caption="Gain, rank and cost"), *blocks_of_scores]


def _summary(results: Results, notes: Footnotes) -> Table:
    candidates = results.candidates
    at_epochs = interval_decimals(candidate.delta_m for candidate in candidates)
    at_cost = interval_decimals(candidate.equal_time for candidate in candidates)
    columns = (
        Column("Δm, %", "95 % interval", "mean relative gain over single-task on test"),
        Column("Δm, %", "at equal cost", "learning curves cut at equal measured cost"),
        Column("mean rank", "1 = best", "rank among the candidates, averaged over tasks"),
        Column("step cost", f"{TIMES} equal weights", "time of a training step"),
        Column("peak memory", "", "highest memory of a training step"),
    )
    zero = Cell("0", small="reference", value=0.0)
    single = Row("single-task", ("reference",), SINGLE_STYLE, (zero, zero, NOTHING))
    single = replace(single, cells=(*single.cells, *single_task_costs(results)))
    rows = [single]
    for candidate in candidates:
        equal = mapping(candidate.raw.get("equal_time"))
        rank = candidate.raw.get("mean_rank")
        cells = (
            notes.gain(candidate.delta_m, at_epochs),
            notes.gain(candidate.equal_time, at_cost) if equal else NOTHING,
            measured(rank, fixed(number(rank) or 0.0, 1)),
            measured(candidate.cost("relative"), ratio(candidate.cost("relative"))),
            measured(candidate.cost("peak_memory_mb"), memory(candidate.cost("peak_memory_mb"))),
        )
        rows.append(_row(candidate, cells))
    return Table("", columns, tuple(rows))


def _scores(results: Results, tasks: list[str], notes: Footnotes) -> Table:
    columns, lines = [], []
    for task in tasks:
        spec = results.tasks[task]
        better = "higher is better" if results.arrow(task) == "↑" else "lower is better"
        unit = f", {spec['unit']}" if spec.get("unit") else ""
        metric = f"{spec.get('metric', '')} {results.arrow(task)}"
        columns.append(Column(task, metric, f"{task}: {spec.get('metric', '')}{unit}, {better}"))
        lines.append(_task_cells(results, task, notes))
    heads = [
        ("best constant", ("reference",), None, False),
        ("single-task", ("reference",), SINGLE_STYLE, False),
        *((c.label, _tags(c), c.style, c.chosen) for c in results.candidates),
    ]
    if results.boosting:
        heads.append(("gradient boosting", ("reference",), BOOSTING_STYLE, False))
    rows = tuple(
        Row(label, tags, style, tuple(line[index] for line in lines), chosen)
        for index, (label, tags, style, chosen) in enumerate(heads)
    )
    return Table("", tuple(columns), rows)


def _task_cells(results: Results, task: str, notes: Footnotes) -> list[Cell]:
    """One column of scores, from the best constant down to gradient boosting."""
    single = mapping(results.single_task.get(task))
    boosted = mapping(results.boosting.get(task))
    entries = [single, *(candidate.task(task) for candidate in results.candidates)]
    entries += [boosted] if boosted else []
    means = [entry.get("mean") for entry in entries]
    trivial = results.tasks[task].get("trivial")
    # Where no run has a score, the best constant alone says how fine the column is.
    shown = means if numbers(means) else [trivial]
    decimals = column_decimals(shown, [entry.get("sd") for entry in entries])
    gains = [_interval(entry) for entry in entries[1:]]
    precision = interval_decimals(gains)
    cells = [notes.plain(trivial, fixed(number(trivial) or 0.0, decimals))]
    for entry in entries:
        cell = notes.score(entry.get("mean"), entry.get("sd"), decimals)
        gain = number(entry.get("gain_mean"))
        if gain is not None and cell.value is not None:
            cell = _with_gain(cell, entry, gain, precision)
        cells.append(cell)
    if results.boosting and not boosted:
        cells.append(NOTHING)
    return cells


def _with_gain(cell: Cell, entry: Any, gain: float, decimals: int) -> Cell:
    """The gain beneath a score, with a sign when Holm's correction leaves it standing."""
    inside = bracket(entry.get("gain_low"), entry.get("gain_high"), decimals)
    corrected = number(entry.get("p_holm"))
    said = [f"95 % interval {inside} %" if inside else "", p_value(entry.get("p"))]
    said.append(f"Holm {p_value(corrected)}" if corrected is not None else "")
    cell = replace(
        cell, small=f"{signed(gain, decimals)} %", title="; ".join(part for part in said if part)
    )
    few = len(numbers(entry.get("gain") or [])) < VERDICT_SEEDS
    if few or corrected is None or corrected >= SIGNIFICANT:
        return cell
    return replace(cell, sign="▲" if gain > 0 else "▼", tone="good" if gain > 0 else "bad")


def seed_tables(results: Results) -> list[Table]:
    """Every score of every seed, one table per task."""
    tables = []
    for task in results.tasks:
        single = mapping(results.single_task.get(task))
        named = [("single-task", single), *((c.label, c.task(task)) for c in results.candidates)]
        if task in results.boosting:
            named.append(("gradient boosting", mapping(results.boosting[task])))
        decimals = 1 + column_decimals(
            [entry.get("mean") for _, entry in named], [entry.get("sd") for _, entry in named]
        )
        notes = Footnotes()
        width = max([len(results.seeds), *(len(entry.get("test") or []) for _, entry in named)])
        seeds = [*results.seeds, *range(len(results.seeds), width)]
        rows = []
        for label, entry in named:
            values = [*(entry.get("test") or [])]
            cells = [notes.plain(v, fixed(number(v) or 0.0, decimals)) for v in values]
            cells += [NOTHING] * (width - len(cells))
            rows.append(Row(label, (), None, tuple(replace(c, note=None) for c in cells)))
        heading = f"{task}: {results.tasks[task].get('metric', '')} {results.arrow(task)}"
        columns = tuple(Column(f"seed {seed}") for seed in seeds)
        tables.append(Table(heading, columns, tuple(rows)))
    return tables


def _interval(entry: Any) -> tuple[Any, Any, Any]:
    return (entry.get("gain_mean"), entry.get("gain_low"), entry.get("gain_high"))


def _row(candidate: Candidate, cells: tuple[Cell, ...]) -> Row:
    return Row(candidate.label, _tags(candidate), candidate.style, cells, candidate.chosen)


def _tags(candidate: Candidate) -> tuple[str, ...]:
    tags = ["chosen"] if candidate.chosen else []
    tags += ["baseline"] if candidate.baseline else []
    failed = len(candidate.failed)
    return (*tags, f"{failed} failed") if failed else tuple(tags)
