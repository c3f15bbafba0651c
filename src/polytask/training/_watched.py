"""Which tasks a callback may switch off, and the validation scores it goes by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.tasks import Task
from polytask.training._rules import finite, oriented

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer


def watched(trainer: Trainer, tasks: Iterable[str] | None, who: str) -> tuple[str, ...]:
    """The tasks that `who` may switch off: those named, or every auxiliary one.

    Raises `UserError` when there is none, when they may not all be paused at once, and when the
    fit has no validation data to go by.
    """
    if tasks is None:
        names = tuple(name for name, task in trainer.tasks.items() if task.role == "auxiliary")
    else:
        names = tuple(tasks)
    if not names:
        raise UserError(
            f"{who} switches auxiliary tasks, and none of {', '.join(trainer.tasks)} is one. Give "
            "some the role 'auxiliary', or name the tasks with tasks=."
        )
    trainer.pauses.check(names)
    if trainer._fit is None or trainer._fit.val is None:
        raise UserError(f"{who} goes by validation scores, and fit got no data; pass val.")
    return names


def check_names(who: str, tasks: Iterable[str] | None) -> tuple[str, ...] | None:
    """Task names given to a callback. Raises `UserError` for a text in place of a list."""
    if isinstance(tasks, str):
        raise UserError(
            f"{who}: expected a list of task names, found the text {tasks!r}. Write [{tasks!r}]."
        )
    return None if tasks is None else tuple(tasks)


def validation_score(task: Task, record: dict[str, Any]) -> float | None:
    """The primary metric of an epoch, turned so that higher is better; None where undefined."""
    score = oriented(finite(record[f"val/{task.name}/{task.primary.name}"]), task)
    return None if isinstance(score, Undefined) else score
