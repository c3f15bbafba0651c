"""Groups of tasks as the pages name them: a letter each, and which of them serves a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Groups:
    """Groups in their order, and for every task the place of the group that serves it."""

    members: tuple[tuple[str, ...], ...] = ()
    serving: Mapping[str, int] = field(default_factory=dict)

    def letter(self, task: str) -> str:
        """The letter of the group that serves a task, '' where none does."""
        place = self.serving.get(task)
        return "" if place is None else letter(place)

    def together(self, scored: str, companion: str) -> bool:
        """Whether the companion is in the group that serves the scored task."""
        place = self.serving.get(scored)
        return place is not None and companion in self.members[place]


def letter(place: int) -> str:
    """'A', 'B', ..., 'Z', 'A2', 'B2', ..."""
    again, index = divmod(place, len(_LETTERS))
    return _LETTERS[index] + (str(again + 1) if again else "")


def read_groups(groups: Any) -> Groups:
    """Groups alone; a task is served by the first it is in."""
    return assigned(groups, {})


def assigned(groups: Any, assignment: Mapping[str, Any]) -> Groups:
    """Groups with the one that serves each task, by the task's name."""
    members = tuple(tuple(map(str, group)) for group in groups or [])
    places = {frozenset(group): place for place, group in reversed(list(enumerate(members)))}
    serving: dict[str, int] = {}
    for task in dict.fromkeys(task for group in members for task in group):
        given = places.get(frozenset(map(str, assignment.get(task) or ())))
        first = next(place for place, group in enumerate(members) if task in group)
        serving[task] = first if given is None else given
    return Groups(members, serving)
