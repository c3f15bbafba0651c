"""One task for every unit (a school, an authority), each labelled on its own rows only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from polytask.data.dataset import Dataset
from polytask.errors import UserError


def own_rows(dataset: Dataset, units: np.ndarray, what: str, min_rows: int) -> Dataset:
    """The data set with its one regression task taken apart: a task for every unit.

    A row keeps its label in the task of its unit and has NaN in all others. Rows of units that
    are too small to be divided into training and test rows are left out, and a note says so.
    `stratify_on` is the unit, so that `split="stratified"` gives every task its share of a part.

    Args:
        dataset: with one regression task.
        units: int64 [N], the number of each row's unit; tasks are named `WHAT_NUMBER`.
        what: what a unit is called.
        min_rows: units with fewer rows are left out.

    Raises:
        UserError: min_rows is no whole number above 0, or leaves no unit.
    """
    if isinstance(min_rows, bool) or not isinstance(min_rows, int) or min_rows < 1:
        raise UserError(f"min_rows of {dataset.name} is {min_rows!r}; expected 1 or more rows.")
    numbers, codes, counts = np.unique(units, return_inverse=True, return_counts=True)
    large = counts >= min_rows
    if not large.any():
        raise UserError(
            f"min_rows={min_rows} of {dataset.name} leaves no {what}: the largest has "
            f"{counts.max()} rows."
        )
    rows = np.flatnonzero(large[codes])
    whole, own = dataset.subset(rows), units[rows]
    (task,) = whole.tasks.values()
    values = whole.targets[task.name]
    names = {f"{what}_{number}": number for number in numbers[large]}
    if not large.all():
        small = zip(numbers[~large], counts[~large], strict=True)
        told = [f"{number} ({count} rows)" for number, count in small]
        shown = ", ".join(told[:5]) + (", ..." if len(told) > 5 else "")
        whole.notes.append(
            f"left out: {len(told)} of {len(numbers)}, each a {what} with fewer than {min_rows} "
            f"rows: {shown}"
        )
    return replace(
        whole,
        targets={
            name: np.where(own == number, values, np.nan).astype(np.float32)
            for name, number in names.items()
        },
        tasks={name: replace(task, name=name) for name in names},
        stratify_on=own,
    )
