"""What is shown before training: the rows, the targets with their kinds, what was decided."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from polytask import verbosity

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from polytask.data import Dataset

MOST_LEFT_OUT = 10  # notes on what a split leaves out


def console(*, json: bool = False) -> Console:
    """The console for people: stderr when stdout belongs to a JSON document.

    Then `--quiet` hushes it, as it does everything on stderr but errors.
    """
    from rich.console import Console

    return Console(stderr=json, quiet=json and verbosity.hushed())


@contextmanager
def quiet_stdout(json: bool) -> Iterator[None]:
    """With `json`, whatever libraries print goes to stderr; stdout stays one document."""
    if not json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def spoken(progress: bool | None, source: str = "polytask") -> Iterator[None]:
    """With `--progress` and no terminal to draw a bar in, progress goes to stderr as lines.

    `source` is the logger they come from. `--quiet` is stronger.
    """
    if not progress or sys.stderr.isatty() or verbosity.hushed():
        yield
        return
    with verbosity.at_least_info(source):
        yield


def show_dataset(screen: Console, dataset: Dataset) -> None:
    """Print the size, one line a target and every note of a data set."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from polytask.report.numbers import share
    from polytask.tasks._fit import places_of

    table = Table(box=box.SIMPLE)
    for heading in ("target", "kind", "labelled", "values"):
        table.add_column(heading, overflow="fold")
    for name, task in dataset.tasks.items():
        known = labelled(dataset.targets[name])
        places = "x".join(str(size) for size in places_of(task, dataset.targets[name]))
        kind = f"{task.kind} at {places} places" if places else task.kind
        part = share(float(known.mean()))
        table.add_row(escape(name), kind, part, escape(values(task, dataset, known)))
    screen.print(f"[bold]{escape(dataset.name)}[/bold]: {dataset.n:,} rows, {_inputs(dataset)}")
    screen.print(table)
    for note in dataset.notes:
        screen.print(f"note: {note}", markup=False, highlight=False)


def show_left_out(screen: Console, notes: Sequence[str], *, everything: str) -> None:
    """Print what the splits leave out, one note a line, at most `MOST_LEFT_OUT` of them.

    `everything` is where the others are: many tasks with few labels each have many.
    """
    for note in notes[:MOST_LEFT_OUT]:
        screen.print(f"note: {note}", markup=False, highlight=False)
    if (more := len(notes) - MOST_LEFT_OUT) > 0:
        screen.print(f"note: {more:,} more like these; {everything}", markup=False, highlight=False)


def labelled(target: np.ndarray) -> np.ndarray:
    """Which rows have a label, bool[N]: any element that is neither NaN nor -100."""
    import numpy as np

    known = ~np.isnan(target) if target.dtype.kind == "f" else target != -100
    return known.reshape(len(target), -1).any(axis=1)


def values(task: Any, dataset: Dataset, known: np.ndarray) -> str:
    """The range of a number, the classes of anything else."""
    import numpy as np

    target = dataset.targets[task.name]
    if task.kind == "regression" and known.any():
        # Of a row with several outputs or places, some may be missing.
        return f"{np.nanmin(target[known]):.4g} to {np.nanmax(target[known]):.4g}"
    shown = [str(label) for label in task.classes[:6]]
    return ", ".join(shown) + (f", ... ({len(task.classes)})" if len(task.classes) > 6 else "")


def _inputs(dataset: Dataset) -> str:
    """How many inputs of each sort."""
    parts = []
    for name, array in dataset.inputs.items():
        shape = "x".join(str(size) for size in array.shape[1:])
        parts.append(f"{shape} {name}" if shape else name)
    return "inputs: " + (", ".join(parts) or "none")


def show_scores(screen: Console, result: dict[str, Any]) -> None:
    """Print the test metrics of a trained model, task by task.

    Where some labels of the test rows are missing, also how many each task is judged on.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    rows = result["rows"]["test"]
    judged_on = {name: parts["test"] for name, parts in result["labelled"].items()}
    sparse = any(known < rows for known in judged_on.values())
    table = Table(box=box.SIMPLE, title=f"test, {rows:,} rows", title_justify="left")
    for heading in ("target", "metric", "this model", "best constant"):
        table.add_column(heading, overflow="fold")
    if sparse:
        table.add_column("labelled rows", justify="right")
    for name, row in result["test"].items():
        for place, (metric, value) in enumerate(row.items()):
            if metric == "best constant":
                continue
            cells = ["", metric, _number(value), "", ""]
            if place == 0:
                cells[0], cells[3] = escape(name), _number(row["best constant"])
                cells[4] = f"{judged_on[name]:,}"
            table.add_row(*cells[: 5 if sparse else 4])
    best, epochs = result["best_epoch"], result["epochs"]
    screen.print(f"epoch {best} of {epochs} chosen, {result['seconds']:.1f} s")
    screen.print(table)


def show_plan(screen: Console, plan: dict[str, Any]) -> None:
    """Print what a study would take: one line a network, then the sum in a sentence."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    table.add_column("network")
    for heading in ("runs", "seconds a run", "relative cost", "parameters"):
        table.add_column(heading, justify="right")
    for row in plan["networks"]:
        measured = (
            ("probe failed", "", "")
            if "error" in row
            else (
                f"{row['run_seconds']:.1f}" if "run_seconds" in row else "",
                f"{row['relative']:.2f}" if row.get("relative") is not None else "",
                f"{row['parameters']:,}" if "parameters" in row else "",
            )
        )
        table.add_row(escape(row["id"]), str(row["runs"]), *measured)
    screen.print(table)
    screen.print(plan["sentence"], markup=False, highlight=False)


def _number(value: Any) -> str:
    """A score as text; an undefined one says so."""
    return f"{value:.4g}" if isinstance(value, float) else f"undefined: {value['undefined']}"
