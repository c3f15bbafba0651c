"""How a study mixes data sets of their own for each task; words only, nothing is read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from polytask import registry
from polytask.errors import UserError
from polytask.study.settings import DEFAULT_METHODS, Choice, choose, distinct, listed, positive

DEFAULT_SCHEDULES = ({"temperature": {"alpha": 0.5}},)
"""As `polytask train` draws by default; known here without torch."""
INDEX = "sets.json"
"""The file that joins the data sets which a study has saved."""
EQUAL = ("linear",)
OF_ONE = {
    "auxiliary": "helper tasks are constructed from the rows of one data set",
    "distill": "the networks that would teach have each seen the rows of one data set",
    "test": "a test table goes with one data set",
}
"""What only a study of one data set can be told, and why."""


@dataclass(frozen=True)
class Mixed:
    """Several data sets in a study, by name, and how steps draw from them. All of it is JSON."""

    sets: dict[str, tuple[str, ...]]
    """The tasks of each data set, by its name."""
    schedules: tuple[Choice, ...]
    """Whose turn it is; the first is that of the baselines."""
    batch_size: dict[str, int]
    """Rows a batch of each data set."""
    tasks_per_step: int | str = 1
    steps_per_epoch: int | None = None

    @property
    def alone(self) -> bool:
        """Whether every step has one task, so that there is nothing to balance."""
        return self.draws == 1 and all(len(tasks) == 1 for tasks in self.sets.values())

    @property
    def draws(self) -> int:
        """How many data sets a step draws from."""
        return len(self.sets) if self.tasks_per_step == "all" else int(self.tasks_per_step)

    def rows_of(self, task: str) -> int:
        """Rows a batch of the network of one task: those of its data set, the first of several."""
        return next(size for name, size in self.batch_size.items() if task in self.sets[name])

    def fits(self, method: Choice, schedule: Choice) -> bool:
        """Whether a method measures what a schedule follows."""
        needs = registry.find("schedule", schedule.name).constants.get("needs", ())
        kind = registry.find("method", method.name).constants.get("statistic_kind")
        return "gramian" not in needs or (kind == "gramian" and self.draws > 1)

    def config(self, schedule: Choice | None) -> dict[str, Any]:
        """The part of a run's configuration that says how data sets are mixed.

        A network of one task has no schedule, and as many steps as those that are mixed.
        """
        return {
            "schedule": None if schedule is None else schedule.to_dict(),
            "tasks_per_step": self.tasks_per_step,
            "steps_per_epoch": self.steps_per_epoch,
            "batch_size": dict(self.batch_size),
        }

    def plain(self) -> dict[str, Any]:
        """The words of `polytask.compare` that say so, for `study.yaml`."""
        return {
            "schedules": [choice.plain() for choice in self.schedules],
            "tasks_per_step": self.tasks_per_step,
            "steps_per_epoch": self.steps_per_epoch,
        }


def maps_tasks(data: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Whether this is a data set for each task, and no data set with its options.

    >>> maps_tasks({"pos": "pos.csv", "ner": "ner.csv"}), maps_tasks({"digits": {}})
    (True, False)
    """
    if not isinstance(data, Mapping) or not data:
        return False
    if len(data) > 1:
        return True
    ((name, value),) = data.items()
    known = {registry.squash(entry) for entry in registry.entries("dataset")}
    if not isinstance(name, str):
        return True
    if registry.squash(name) in known and (value is None or isinstance(value, Mapping)):
        return False
    if isinstance(value, Mapping):
        return [registry.squash(str(inside)) in known for inside in value] == [True]
    return value is not None


def names_several(data: Any) -> bool:
    """Whether this names several data sets: by task, or by a folder in which a study saved them."""
    return maps_tasks(data) or (isinstance(data, str | Path) and (Path(data) / INDEX).is_file())


def check_words(
    tasks_per_step: Any,
    steps_per_epoch: Any,
    batch_size: Any,
    schedules: Sequence[Choice],
    *,
    several: bool,
) -> None:
    """Raise `UserError` for words on steps that cannot be, whatever the data."""
    if tasks_per_step == "all" and len(schedules) > 1:
        raise UserError(
            f"schedules: found {len(schedules)}, and with tasks_per_step='all' every step draws "
            "from every data set, so no schedule is asked. Name none, or fewer tasks a step."
        )
    if tasks_per_step not in (None, "all"):
        whole = isinstance(tasks_per_step, int) and not isinstance(tasks_per_step, bool)
        if not whole or tasks_per_step < 1:
            raise UserError(
                "tasks_per_step: expected 'all' or a whole number of at least 1, found "
                f"{tasks_per_step!r}. 1 takes one data set a step."
            )
    if steps_per_epoch is not None:
        positive(steps_per_epoch, "steps_per_epoch", whole=True)
    by_set = several and isinstance(batch_size, Mapping)
    for size in batch_size.values() if by_set else [batch_size]:
        positive(size, "batch_size", whole=True)


def refuse_of_several(**words: Any) -> None:
    """Raise `UserError` for a word of several data sets where there is one."""
    for word, value in words.items():
        if value is not None:
            raise UserError(
                f"{word}: it says how several data sets are mixed, and data is one. Give a data "
                "set for each task, as in data={'ner': 'ner.csv', 'pos': 'pos.csv'}, or leave it "
                "out."
            )


def refuse_of_one(**words: Any) -> None:
    """Raise `UserError` for a word of one data set where there are several."""
    for word, value in words.items():
        if value is not None:
            raise UserError(f"{word}: {OF_ONE[word]}, and data names several. Leave it out.")


def choose_schedules(raw: Iterable[object] | str | Mapping[str, Any] | None) -> tuple[Choice, ...]:
    """The schedules to compare, without repeats; a mapping is several names with arguments.

    The first is that of the baselines, so one that only some methods can go by does not come first.
    """
    rows: Iterable[object] = DEFAULT_SCHEDULES
    if raw is not None:
        rows = [{k: v} for k, v in raw.items()] if isinstance(raw, Mapping) else listed(raw)
    found = distinct([choose("schedule", item) for item in rows])
    if not found:
        raise UserError("schedules: expected at least one, found none; try 'temperature'.")
    special = [choice for choice in found if _follows_gramians(choice)]
    plain = [choice for choice in found if choice not in special]
    return (*(plain or [choose("schedule", DEFAULT_SCHEDULES[0])]), *special)


def usual_methods(mixed: Mixed | None) -> tuple[str, ...]:
    """The methods of a study that names none: equal weights where steps have one task."""
    return EQUAL if mixed is not None and mixed.alone else DEFAULT_METHODS


def check_followed(mixed: Mixed, methods: Sequence[Choice]) -> None:
    """Raise `UserError` for a schedule that no method can lead."""
    for schedule in mixed.schedules:
        if not any(mixed.fits(method, schedule) for method in methods):
            raise UserError(
                f"schedule {schedule.label} follows Gramians, which a method that reads them "
                "measures in steps of several data sets; found the methods "
                f"{', '.join(method.label for method in methods)} and tasks_per_step="
                f"{mixed.tasks_per_step}. Set tasks_per_step to 2 or more, and add a method such "
                "as 'mgda'."
            )


def _follows_gramians(schedule: Choice) -> bool:
    return "gramian" in registry.find("schedule", schedule.name).constants.get("needs", ())
