"""The tables of a front's page: every point with its scores, and what preferences do."""

from __future__ import annotations

from polytask.report.cells import NOTHING, Cell, Column, Footnotes, Row, Table
from polytask.report.cost_table import measured
from polytask.report.numbers import (
    DASH,
    TIMES,
    bare_p,
    column_decimals,
    interval_decimals,
    number,
    ratio,
    signed,
)
from polytask.report.pareto_results import Front
from polytask.report.results import SINGLE_STYLE, triple


def point_table(front: Front, notes: Footnotes) -> Table:
    """Score and gain of every point on every task; single-task networks last."""
    columns = [Column("front", "", "no other point beats it on validation")]
    said = "mean ± standard deviation over seeds, on test; gain over single-task below"
    columns += [Column(task, front.metric(task), said) for task in front.tasks]
    columns.append(Column("step cost", f"{TIMES} equal weights", "time of a step"))
    digits = {
        task: column_decimals(
            (point.task(task).get("mean") for point in front.points),
            (point.task(task).get("sd") for point in front.points),
        )
        for task in front.tasks
    }
    rows = []
    for point in front.points:
        kept = {True: "yes", False: "no", None: DASH}[point.front]
        cells = [Cell(kept, value=None if point.front is None else float(point.front))]
        for task in front.tasks:
            entry = point.task(task)
            cell = notes.score(entry.get("mean"), entry.get("sd"), digits[task])
            gain = number(point.gain(task)[0])
            small = "" if gain is None else f"{signed(gain, 1)} %"
            cells.append(Cell(cell.text, small, cell.value, cell.title, cell.note, tone=cell.tone))
        cells.append(measured(point.cost("relative"), ratio(point.cost("relative"))))
        label = f"{point.number}: {point.name}"
        rows.append(Row(label, (), point.style, tuple(cells), point.front is True))
    alone = [Cell("ideal", value=None)]
    for task in front.tasks:
        entry = front.single(task)
        alone.append(notes.score(entry.get("mean"), entry.get("sd"), digits[task]))
    alone.append(NOTHING)
    rows.append(Row("each task alone", ("reference",), SINGLE_STYLE, tuple(alone)))
    return Table("Every trade-off", tuple(columns), tuple(rows))


def steering_table(front: Front, notes: Footnotes) -> Table:
    """What counting most, against counting least, does to each task's own score."""
    columns = (
        Column("verdict", "", "whether the preference moves the task"),
        Column("difference, %", "95 % interval", "its gain where it counts most minus least"),
        Column("p", "Holm", "corrected over the tasks"),
        Column("points", "", "counts most, counts least"),
    )
    names = {str(point.raw.get("id")): str(point.number) for point in front.points}
    intervals = {task: triple(entry, "") for task, entry in front.steering.items()}
    decimals = interval_decimals(intervals.values())
    rows = []
    for task, entry in front.steering.items():
        word = str(entry.get("word"))
        tone = "good" if word.endswith("moves") else "bad" if "wrong" in word else "none"
        p = number(entry.get("p_holm"))
        ends = " against ".join(names.get(str(entry.get(k)), "?") for k in ("most", "least"))
        cells = (
            Cell(word, value=number(entry.get("mean")), tone=tone),
            notes.gain(intervals[task], decimals),
            NOTHING if p is None else Cell(bare_p(p), value=p),
            Cell(ends, value=0.0),
        )
        rows.append(Row(task, (), None, cells))
    return Table("What preferences do", columns, tuple(rows))
