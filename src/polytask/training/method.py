"""Balancers by name, told what they ask to know about the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask import registry
from polytask.errors import UserError, unknown
from polytask.optimization.base import Balancer
from polytask.optimization.create import create_method
from polytask.optimization.main_task._main import confirm_main
from polytask.tasks import Task


def build_method(method: str | Balancer, tasks: Mapping[str, Task], **arguments: Any) -> Balancer:
    """The balancer called `method`, or the one given.

    A method with an argument `kinds` (uncertainty weighting has another weight for a
    classification than for a regression loss) gets the kinds of `tasks`, unless it is among
    `arguments`. One with an argument `main` gets the name of the main task in the same way: the
    only task with role 'main', or the first task where no roles are set apart. One with an
    argument `primary` gets all tasks with role 'main' where there are auxiliary ones.

    Raises `UserError` for an unknown name or argument, and when the roles leave open which of
    several tasks is the main one.
    """
    if isinstance(method, Balancer):
        _check_names(method, tasks)
        _check_reversed(method, tasks)
        return method
    words = registry.find("method", method).arguments
    told = _known_of(tasks)
    if "main" in words and "main" not in arguments:
        told["main"] = _main_of(method, tasks)
    arguments = {**{word: told[word] for word in told if word in words}, **arguments}
    try:
        balancer = create_method(method, **arguments)
    except UserError as error:
        if registry.squash(method) in registry.squash(str(error)):
            raise
        raise UserError(f"method {method}: {error}") from error
    _check_names(balancer, tasks)
    _check_reversed(balancer, tasks)
    return balancer


def _known_of(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """What methods may ask to know of the tasks, by the word that they ask with."""
    classes = ("binary", "multiclass", "multilabel")
    known: dict[str, Any] = {
        "kinds": {
            name: "classification" if task.kind in classes else "regression"
            for name, task in tasks.items()
        }
    }
    main = _with_role_main(tasks)
    return {**known, "primary": main} if 0 < len(main) < len(tasks) else known


def _main_of(method: str, tasks: Mapping[str, Task]) -> str | int:
    """The main task by the roles; the first one where all tasks have the same role."""
    main = _with_role_main(tasks)
    if len(main) in (0, len(tasks)):
        return next(iter(tasks), 0)
    if len(main) > 1:
        raise UserError(
            f"method {method} needs one main task, and {len(main)} have that role: "
            f"{', '.join(main)}. Name one: main={main[0]!r}, or give the others the role "
            "'auxiliary'."
        )
    return main[0]


def _with_role_main(tasks: Mapping[str, Task]) -> tuple[str, ...]:
    return tuple(name for name, task in tasks.items() if task.role == "main")


def _check_reversed(balancer: Balancer, tasks: Mapping[str, Task]) -> None:
    """Raise `UserError` when a method that looks at losses, not gradients, meets a reversed task.

    Inner products from differences of losses are those of the gradient as it is: with a reversed
    one they would have the wrong sign.
    """
    turned = [name for name, task in tasks.items() if task.reverse]
    if turned and balancer.statistic_kind == "row":
        raise UserError(
            f"{type(balancer).__name__} tells what tasks do to each other from their losses, where "
            f"the gradient of {turned[0]!r}, which is reversed, cannot be seen. Expected a method "
            "that reads gradients or losses alone, such as linear, gcs or pcgrad."
        )


def _check_names(balancer: Balancer, tasks: Mapping[str, Task]) -> None:
    """Raise `UserError` when the main task, or a weighted one, is none of `tasks`."""
    kind = type(balancer).__name__
    main = getattr(balancer, "main", None)
    if isinstance(main, str) and main not in tasks:
        raise unknown(f"main task of {kind}:", main, tasks)
    if isinstance(main, str):
        confirm_main(main, balancer)  # the first batch may be without its labels
    if isinstance(main, int) and not 0 <= main < len(tasks):
        raise UserError(
            f"{kind} takes the task in row {main} for the main one, and there are {len(tasks)}. "
            "Name it: main='NAME'."
        )
    for word in ("fixed", "preference", "primary"):
        for name in _names_in(getattr(balancer, word, None)):
            if name not in tasks:
                raise unknown(f"task in the weights of {kind}:", name, tasks)
    for name in _names_in(getattr(balancer, "primary", None)):
        confirm_main(name, balancer)


def _names_in(held: Any) -> list[str]:
    """The names in weights by task or in a list of tasks.

    Methods of other people may mean something else by these words: a number, a vector, a mode.
    """
    if not isinstance(held, Mapping | list | tuple | set | frozenset):
        return []
    return [name for name in held if isinstance(name, str)]
