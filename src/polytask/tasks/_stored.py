"""Metrics by default, and a task as JSON values."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError, unknown
from polytask.metrics import Metric, find_metric

if TYPE_CHECKING:
    from polytask.tasks._task import Task

DEFAULT_METRICS = {
    "regression": ("rmse", "mae", "r2"),
    "binary": ("auroc", "log_loss", "accuracy"),
    "multiclass": ("accuracy", "log_loss", "macro_f1"),
    "multilabel": ("auroc", "micro_f1", "log_loss"),
    "custom": ("loss",),
}


def all_metrics(kind: str, given: tuple[str | Metric, ...]) -> tuple[Metric, ...]:
    """Words turned into metrics; the kind's defaults when none are given."""
    found = []
    for metric in given or DEFAULT_METRICS[kind]:
        if isinstance(metric, Metric) and metric.function is not None:
            found.append(metric)
        else:
            found.append(find_metric(metric.name if isinstance(metric, Metric) else metric, kind))
    return tuple(found)


def to_dict(task: Task) -> dict[str, Any]:
    """Every field as a JSON value; refuses functions, which JSON cannot hold.

    `reverse` only where it is in use: what tasks without it are known by stays the same.
    """
    stored: dict[str, Any] = {field.name: getattr(task, field.name) for field in fields(task)}
    own = task.loss_function
    if own is not None and not isinstance(own, str):
        raise UserError(
            f"task {task.name!r}: its loss_function is a Python function and cannot be written to "
            "a file; build the task in code where you load it."
        )
    for metric in task.metrics:
        if isinstance(metric, Metric) and metric.function is not None:
            raise UserError(
                f"task {task.name!r}: metric {metric.name!r} is a Python function and cannot be "
                "written to a file; build the task in code where you load it."
            )
    stored["metrics"] = [m.name if isinstance(m, Metric) else m for m in task.metrics]
    stored["classes"] = list(task.classes)
    stored["places"] = list(task.places)
    for field in ("mean", "std"):
        if isinstance(stored[field], tuple):
            stored[field] = list(stored[field])
    if not task.reverse:
        del stored["reverse"]
    return stored


def known(stored: dict[str, Any], cls: type[Task]) -> dict[str, Any]:
    """The stored fields as arguments; raises `UserError` for a key that is none."""
    names = [field.name for field in fields(cls)]
    for key in stored:
        if key not in names:
            raise unknown("key of a task:", key, names)
    for key in ("name", "kind"):
        if key not in stored:
            raise UserError(f"a task needs {key!r}; found only {sorted(stored)}.")
    return {key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()}
