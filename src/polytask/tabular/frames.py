"""Network outputs as DataFrames: labels and units of the table the model was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from polytask.errors import UserError, some
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

WITH_PROBABILITIES = ("binary", "multiclass", "multilabel")


def prediction_frame(
    tasks: Mapping[str, Task], outputs: Mapping[str, Tensor], index: pd.Index
) -> pd.DataFrame:
    """One column a task: target units for numbers, the labels themselves for classes.

    A task of several outputs or labels has one column for each, `task/label`. Raises `UserError`
    for a task with a prediction at every place, which no column holds.
    """
    import pandas as pd

    _refuse_places(tasks)

    columns: dict[str, Any] = {}
    for name, task in tasks.items():
        values = task.predict(outputs[name]).numpy()
        if values.ndim > 1:
            for part, label in enumerate(parts(task)):
                columns[f"{name}/{label}"] = values[:, part]
        elif task.kind in ("binary", "multiclass"):
            columns[name] = class_values(task)[values]
        else:
            columns[name] = values
    return pd.DataFrame(columns, index=index)


def probability_frames(
    tasks: Mapping[str, Task], outputs: Mapping[str, Tensor], index: pd.Index
) -> dict[str, pd.DataFrame]:
    """For every classification task, one column a class (multilabel: a label).

    Raises `UserError` for a task with a prediction at every place.
    """
    import pandas as pd

    _refuse_places(tasks)

    frames = {}
    for name, task in tasks.items():
        if task.kind not in WITH_PROBABILITIES:
            continue
        values = task.probabilities(outputs[name]).numpy()
        if task.kind == "binary":
            values = np.stack([1 - values, values], axis=1)
        frames[name] = pd.DataFrame(values, index=index, columns=list(parts(task)))
    return frames


def parts(task: Task) -> tuple[Any, ...]:
    """What the columns of a task of several stand for: classes, labels or output numbers."""
    return task.classes or tuple(range(task.size))


def _refuse_places(tasks: Mapping[str, Task]) -> None:
    dense = [name for name, task in tasks.items() if task.places]
    if dense:
        raise UserError(
            f"{some(dense, 80)}: a prediction at every place has no room in a table. In Python, "
            "polytask.tabular.Fitted.load(folder).outputs(inputs) gives arrays [rows, outputs, "
            "...] by task, and task.predict makes predictions of them."
        )


def class_values(task: Task) -> np.ndarray:
    """The labels by code, as whole numbers or booleans where all of them are."""
    kinds = {type(label) for label in task.classes}
    if kinds == {bool} or kinds == {int}:
        return np.asarray(task.classes)
    values = np.empty(len(task.classes), dtype=object)
    values[:] = task.classes
    return values
