"""Checks of a task's settings, made when it is built."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError, unknown
from polytask.metrics import Metric
from polytask.tasks._losses import REGRESSION_LOSSES
from polytask.tasks._stored import all_metrics

if TYPE_CHECKING:
    from polytask.tasks._task import Task

KINDS = ("regression", "binary", "multiclass", "multilabel", "custom")
ROLES = ("main", "auxiliary")


def checked_fields(task: Task) -> dict[str, Any]:
    """The fields in their final form. Raises `UserError` for the first that does not fit."""
    if not isinstance(task.name, str) or not task.name or "/" in task.name:
        raise UserError(
            f"a task's name must be a text without '/' (it becomes part of keys such as "
            f"val/NAME/rmse); found {task.name!r}. Rename it; in a table, rename the column."
        )
    if task.kind not in KINDS:
        raise unknown(f"kind of task {task.name!r}:", task.kind, KINDS)
    if task.role not in ROLES:
        raise unknown(f"role of task {task.name!r}:", task.role, ROLES)
    classes = _classes(task)
    _size(task)
    _loss(task)
    return {
        "classes": classes,
        "metrics": _metrics(task),
        "mean": _scale(task, "mean"),
        "std": _scale(task, "std"),
        "places": _places(task),
        "reverse": _reverse(task),
    }


def _plain(label: Any) -> Any:
    """A numpy scalar as the Python value it holds."""
    return label.item() if hasattr(label, "item") and not hasattr(label, "__len__") else label


def _classes(task: Task) -> tuple[Any, ...]:
    """Class labels as a tuple of plain, distinct values."""
    if isinstance(task.classes, str) or not isinstance(task.classes, Iterable):
        raise UserError(f"task {task.name!r}: classes must be a list, found {task.classes!r}.")
    classes = tuple(_plain(label) for label in task.classes)
    if task.kind in ("regression", "custom"):
        if classes:
            raise UserError(
                f"task {task.name!r} is {task.kind}, which takes no classes; found {len(classes)}. "
                "Leave classes out, or use kind 'multiclass'."
            )
        return ()
    if task.kind == "binary" and not classes:
        return (0, 1)
    least = 1 if task.kind == "multilabel" else 2
    if len(classes) < least or (task.kind == "binary" and len(classes) != 2):
        need = "exactly 2" if task.kind == "binary" else f"at least {least}"
        raise UserError(
            f"task {task.name!r} is {task.kind}: expected {need} classes, found {len(classes)} "
            f"({list(classes)[:5]}). Pass classes=[...], or range(k)."
        )
    for label in classes:
        if not isinstance(label, str | int | float | bool) or label != label:
            raise UserError(
                f"task {task.name!r}: a class is a text, a number or a bool; found {label!r}."
            )
    if len(set(classes)) < len(classes):
        double = next(label for i, label in enumerate(classes) if label in classes[:i])
        raise UserError(
            f"task {task.name!r}: class {double!r} is given twice; expected every class once. "
            "Leave one out."
        )
    return classes


def _size(task: Task) -> None:
    if not isinstance(task.size, int) or task.size < 1:
        raise UserError(f"task {task.name!r}: size must be a whole number above 0: {task.size!r}.")
    if task.size > 1 and task.kind not in ("regression", "custom"):
        raise UserError(
            f"task {task.name!r} is {task.kind}: its output size follows from classes; "
            f"leave out size={task.size} (classes=range({task.size}) gives numbered classes)."
        )


def _loss(task: Task) -> None:
    own = task.loss_function
    if own is None and task.kind == "custom":
        raise UserError(
            f"task {task.name!r} is custom and found no loss_function; expected one. Pass "
            "loss_function=f, where f(output, target) gives one loss a row."
        )
    if own is None or callable(own):
        return
    if task.kind != "regression":
        raise UserError(
            f"task {task.name!r} is {task.kind}: loss_function must be a function, found {own!r}."
        )
    if own not in REGRESSION_LOSSES:
        raise unknown(f"loss_function of task {task.name!r}:", own, REGRESSION_LOSSES)


def _metrics(task: Task) -> tuple[str | Metric, ...]:
    """The metrics as given, as a tuple, when each fits."""
    given = (task.metrics,) if isinstance(task.metrics, str | Metric) else tuple(task.metrics)
    try:
        found = all_metrics(task.kind, given)
    except UserError as error:
        raise UserError(f"task {task.name!r}: {error}") from error
    names = [metric.name for metric in found]
    if len(set(names)) < len(names):
        raise UserError(f"task {task.name!r}: a metric is named twice: {', '.join(names)}.")
    if found[0].name == "r2" and found[0].function is None:
        raise UserError(
            f"task {task.name!r}: r2 may not be the primary metric, because relative changes of a "
            "score that can be 0 or negative say nothing; put rmse or mae before it."
        )
    if found[0].name == "mean_angle" and found[0].function is None and task.size < 2:
        raise UserError(
            f"task {task.name!r}: mean_angle is the angle between directions and needs at least "
            f"2 outputs; found size={task.size}. Use rmse or mae."
        )
    return given


def _places(task: Task) -> tuple[int, ...]:
    """Sizes of the axes of places, as a tuple."""
    value = task.places
    sizes = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else None
    if sizes is None or not all(type(size) is int and size > 0 for size in sizes):
        raise UserError(
            f"task {task.name!r}: places must be sizes such as (64, 64), or (), found {value!r}."
        )
    return sizes


def _reverse(task: Task) -> float:
    """The factor of gradient reversal as a float."""
    value = task.reverse
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise UserError(
            f"task {task.name!r}: reverse must be a finite number of at least 0, found {value!r}."
        )
    if value and task.role != "auxiliary":
        raise UserError(
            f"task {task.name!r} is {task.role} with reverse={value:g}: a task whose gradient is "
            "reversed is to be unlearned. Give it role='auxiliary', or leave reverse out."
        )
    return float(value)


def _scale(task: Task, field: str) -> float | tuple[float, ...]:
    """`mean` or `std` as a float, or a tuple of one float per output."""
    value = getattr(task, field)
    several = isinstance(value, Iterable)
    values = tuple(float(v) for v in (value if several else (value,)))
    if several and len(values) != task.size:
        raise UserError(
            f"task {task.name!r}: {field} must be one number or {task.size} (one per output), "
            f"found {len(values)}."
        )
    if not all(map(math.isfinite, values)) or (field == "std" and min(values) <= 0):
        rule = "finite" if field == "mean" else "finite and above 0"
        raise UserError(f"task {task.name!r}: {field} must be {rule}, found {value!r}.")
    if task.kind != "regression" and any(v != (field == "std") for v in values):
        raise UserError(f"task {task.name!r} is {task.kind}: it takes no {field}.")
    return values if several and task.size > 1 else values[0]
