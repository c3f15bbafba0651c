"""Balancers by name, told what they ask to know about the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask import registry
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
        return method
    if "kinds" in registry.find("method", method).arguments:
        classes = ("binary", "multiclass", "multilabel")
        kinds = {
            name: "classification" if task.kind in classes else "regression"
            for name, task in tasks.items()
        }
        arguments = {"kinds": kinds, **arguments}
    return create_method(method, **arguments)
