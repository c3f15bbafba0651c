"""Schedules by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask import registry
from polytask.errors import UserError
from polytask.optimization.scheduling._base import Schedule

DEFAULT: Mapping[str, Mapping[str, float]] = {"temperature": {"alpha": 0.5}}
"""By the square roots of the numbers of rows. Drawn in proportion to them, a data set a hundredth
as large as another hardly has a turn; drawn alike, the large one pays for it.
"""


def list_schedules(pattern: str = "*") -> list[str]:
    """Names of all schedules that match a shell pattern, sorted. Imports none of them.

    >>> list_schedules("t*")
    ['task_prioritisation', 'temperature']
    """
    return registry.names("schedule", pattern)


def create_schedule(schedule: str | Mapping[str, Any] | Schedule, /, **arguments: Any) -> Schedule:
    """Build a schedule: `create_schedule("temperature", alpha=0.5)`.

    Args:
        schedule: its name, a mapping of its name to its arguments (as YAML writes it,
            `{temperature: {alpha: 0.5}}`), or a schedule, which is given back.
        arguments: keyword arguments of the class.

    Raises:
        UserError: no schedule of that name, or an argument that it does not take.

    >>> create_schedule({"temperature": {"alpha": 0.5}}).alpha
    0.5
    """
    if isinstance(schedule, Schedule):
        if arguments:
            raise UserError(
                "a schedule was given ready made, with arguments beside it "
                f"({', '.join(arguments)}); expected one of the two. Give its name with them."
            )
        return schedule
    if isinstance(schedule, Mapping):
        if len(schedule) != 1:
            raise UserError(
                "a schedule is one name with its arguments, as in {temperature: {alpha: 0.5}}; "
                f"found {dict(schedule)!r}."
            )
        (name, inside), *_ = schedule.items()
        if inside is not None and not isinstance(inside, Mapping):
            raise UserError(
                f"the arguments of schedule {name!r} must be a mapping, as in {{alpha: 0.5}}; "
                f"found {inside!r}."
            )
        return create_schedule(str(name), **dict(inside or {}), **arguments)
    if not isinstance(schedule, str):
        raise UserError(
            f"a schedule is a name, a mapping {{name: arguments}} or a Schedule; found "
            f"{schedule!r}. Known names: {', '.join(list_schedules())}."
        )
    made = registry.create("schedule", schedule, **arguments)
    if not isinstance(made, Schedule):
        raise UserError(f"schedule {schedule!r} must make a Schedule, found {type(made).__name__}.")
    return made
