"""Balancers by name, told what they ask to know about the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask import registry
from polytask.errors import UserError, unknown
from polytask.optimization.base import Balancer
from polytask.optimization.create import create_method
from polytask.tasks import Task


def build_method(method: str | Balancer, tasks: Mapping[str, Task], **arguments: Any) -> Balancer:
    """The balancer called `method`, or the one given.

    A method with an argument `kinds` (uncertainty weighting has another weight for a
    classification than for a regression loss) gets the kinds of `tasks`, unless it is among
    `arguments`. Raises `UserError` for an unknown name or argument.
    """
    if isinstance(method, Balancer):
        _check_names(method, tasks)
        return method
    if "kinds" in registry.find("method", method).arguments:
        classes = ("binary", "multiclass", "multilabel")
        kinds = {
            name: "classification" if task.kind in classes else "regression"
            for name, task in tasks.items()
        }
        arguments = {"kinds": kinds, **arguments}
    try:
        balancer = create_method(method, **arguments)
    except UserError as error:
        if registry.squash(method) in registry.squash(str(error)):
            raise
        raise UserError(f"method {method}: {error}") from error
    _check_names(balancer, tasks)
    return balancer


def _check_names(balancer: Balancer, tasks: Mapping[str, Task]) -> None:
    """Raise `UserError` when the main task, or a weighted one, is none of `tasks`."""
    kind = type(balancer).__name__
    main = getattr(balancer, "main", None)
    if isinstance(main, str) and main not in tasks:
        raise unknown(f"main task of {kind}:", main, tasks)
    if isinstance(main, int) and not 0 <= main < len(tasks):
        raise UserError(
            f"{kind} takes the task in row {main} for the main one, and there are {len(tasks)}. "
            "Name it: main='NAME'."
        )
    for word in ("fixed", "preference", "primary"):
        for name in getattr(balancer, word, None) or ():
            if isinstance(name, str) and name not in tasks:
                raise unknown(f"task in the weights of {kind}:", name, tasks)
