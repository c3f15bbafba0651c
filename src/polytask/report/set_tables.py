"""Several data sets in one study: what each holds, and how much of it training has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.cells import NOTHING, Cell, Column, Row, Table
from polytask.report.numbers import count, fixed, number
from polytask.report.results import SINGLE_STYLE, Results, mapping
from polytask.report.words import listing

PARTS = {"train": "training", "val": "validation", "test": "test"}


def data_sets(results: Results) -> list[Mapping[str, Any]]:
    """The data sets of a study that has one for each task; [] of one for all."""
    return [mapping(each) for each in results.section("dataset").get("sets") or []]


def set_tables(results: Results) -> list[Table]:
    """The data sets with their rows, and the labels seen of each task; [] where there is one."""
    sets = data_sets(results)
    return [_rows(sets), _seen(results, sets)] if sets else []


def _rows(sets: Sequence[Mapping[str, Any]]) -> Table:
    columns = (
        Column("read from"),
        *(Column(word, "rows") for word in PARTS.values()),
        Column("batch", "rows"),
    )
    rows = []
    for each in sets:
        parts = mapping(each.get("rows"))
        sizes = [number(parts.get(part)) for part in PARTS] + [number(each.get("batch_size"))]
        cells = [Cell(str(each.get("data", ""))), *map(_count, sizes)]
        rows.append(Row(listing([*each["tasks"]]), (), None, tuple(cells)))
    return Table("What each data set holds", columns, tuple(rows))


def _seen(results: Results, sets: Sequence[Mapping[str, Any]]) -> Table:
    """A row for the separate networks and one for each schedule, a column for each task."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in map(mapping, results.raw["candidates"]):
        if entry.get("examples"):
            groups.setdefault(str(entry.get("schedule")), []).append(mapping(entry["examples"]))
    alone = {t: mapping(mapping(e).get("examples")).get(t) for t, e in results.single_task.items()}
    lines = [Row("single-task", ("reference",), SINGLE_STYLE, _cells(results, sets, [alone]))]
    lines += [Row(word, (), None, _cells(results, sets, seen)) for word, seen in groups.items()]
    columns = tuple(Column(task, "labels seen") for task in results.tasks)
    return Table("What training has seen", columns, tuple(lines))


def _cells(
    results: Results, sets: Sequence[Mapping[str, Any]], seen: Sequence[Mapping[str, Any]]
) -> tuple[Cell, ...]:
    """Labels of each task, their mean over networks, and how often each came."""
    cells = []
    for task in results.tasks:
        known = [value for each in seen if (value := number(each.get(task))) is not None]
        if not known:
            cells.append(NOTHING)
            continue
        mean = sum(known) / len(known)
        labels = sum(number(mapping(each.get("labels")).get(task)) or 0.0 for each in sets)
        often = f"each {fixed(mean / labels, 1)} times" if labels else ""
        cells.append(Cell(count(mean), small=often, value=mean))
    return tuple(cells)


def _count(value: float | None) -> Cell:
    return NOTHING if value is None else Cell(count(value), value=value)
