"""What a step costs: every candidate, and the single-task networks taken together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.report.cells import NOTHING, Cell, Column, Row, Table
from polytask.report.numbers import (
    TIMES,
    column_decimals,
    count,
    duration,
    fixed,
    memory,
    number,
    ratio,
)
from polytask.report.results import SINGLE_STYLE, Results, mapping


def cost_table(results: Results) -> Table:
    """What a step costs, in the units it was measured in."""
    columns = (
        Column("step", "ms", "time of a training step"),
        Column("relative", f"{TIMES} equal", "multiple of a step with equal weights"),
        Column("memory", "peak", "highest memory of a training step"),
        Column("weights", "trainable", "number of trainable parameters"),
    )
    costs = [_candidate_costs(candidate.raw) for candidate in results.candidates]
    decimals = min(2, column_decimals(step for step, *_ in costs))
    rows = [
        Row(candidate.label, (), candidate.style, _cells(cost, decimals), candidate.chosen)
        for candidate, cost in zip(results.candidates, costs, strict=True)
    ]
    together = _single_task_costs(results)
    if any(number(cost) is not None for cost in together):
        cells = _cells(together, decimals)
        rows.insert(0, Row("single-task, all", ("reference",), SINGLE_STYLE, cells))
    return Table("Cost of a step", columns, tuple(rows))


def single_task_costs(results: Results) -> tuple[Cell, Cell]:
    """Relative step cost and peak memory of all single-task networks together."""
    _, relative, size, _ = _single_task_costs(results)
    small = "all tasks" if relative is not None else ""
    cost = measured(relative, ratio(relative))
    return Cell(cost.text, small, cost.value, tone=cost.tone), measured(size, memory(size))


def measured(value: Any, text: str) -> Cell:
    """A cost, or a dash where it was not measured."""
    found = number(value)
    return NOTHING if found is None else Cell(text, value=found)


def stage_costs(results: Results, stages: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(label, runs, time) of every stage that an answer took; `stages` has their labels."""
    cost = results.section("cost")
    return [
        (label, count(entry.get("runs")), duration(entry.get("seconds")))
        for stage, label in stages.items()
        if (entry := mapping(cost.get(stage)))
    ]


def _candidate_costs(raw: Any) -> tuple[Any, Any, Any, Any]:
    """Step in milliseconds, relative cost, peak memory in MB, parameters."""
    cost = mapping(raw.get("cost"))
    seconds = number(cost.get("step_seconds"))
    return (
        None if seconds is None else 1000 * seconds,
        cost.get("relative"),
        cost.get("peak_memory_mb"),
        cost.get("parameters"),
    )


def _single_task_costs(results: Results) -> tuple[Any, Any, Any, Any]:
    """The same for one network per task, trained one after another: memory is the highest."""
    entries = [mapping(results.single_task.get(task)) for task in results.tasks]
    keys = ("step_seconds", "cost", "peak_memory_mb", "parameters")
    columns = [[number(entry.get(key)) for entry in entries] for key in keys]
    # A sum that lacks a task would flatter the single-task networks.
    seconds, relative, size, parameters = (
        None if not column or None in column else [value for value in column if value is not None]
        for column in columns
    )
    return (
        None if seconds is None else 1000 * sum(seconds),
        None if relative is None else sum(relative),
        None if size is None else max(size),
        None if parameters is None else sum(parameters),
    )


def _cells(cost: tuple[Any, Any, Any, Any], decimals: int) -> tuple[Cell, ...]:
    step, relative, size, parameters = cost
    return (
        measured(step, fixed(number(step) or 0.0, decimals)),
        measured(relative, ratio(relative)),
        measured(size, memory(size)),
        measured(parameters, count(parameters)),
    )
