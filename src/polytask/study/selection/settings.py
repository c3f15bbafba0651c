"""What a selection of helper tasks is asked: the main task, the candidates, how many to prove."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError, unknown
from polytask.study.settings import ALONE, Choice, Settings, choose, listed, positive

if TYPE_CHECKING:
    from polytask.data import Dataset


ROUNDS, LEAST_ROUNDS = 5, 20
"""Rounds of the trial for every candidate, and at least, where nobody says how many."""


@dataclass(frozen=True)
class Recipe:
    """A construction of helper tasks, and the names of the tasks that it makes."""

    choice: Choice
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """Everything that decides what the runs of a selection compute. All of it is JSON."""

    study: Settings
    """Of all tasks together: the main one first; `methods` and `architectures` hold one each."""
    main: str
    finalists: int = 3
    rounds: int | None = None
    recipes: tuple[Recipe, ...] = ()

    @property
    def candidates(self) -> tuple[str, ...]:
        """The possible helpers, in the order of the data set, constructed ones last."""
        return tuple(task for task in self.study.tasks if task != self.main)

    @property
    def method(self) -> Choice:
        """How a network with helpers is balanced."""
        return self.study.methods[0]

    @property
    def architecture(self) -> Choice:
        """How helpers share with the main task."""
        return self.study.architectures[0]

    @property
    def direction(self) -> str:
        """Whether the main task's metric is to be large ("max") or small ("min")."""
        return str(self.study.tasks[self.main]["direction"])

    @property
    def trial_rounds(self) -> int:
        """How many rounds the bandit's trial has."""
        return self.rounds or max(LEAST_ROUNDS, ROUNDS * len(self.candidates))

    @property
    def screened(self) -> bool:
        """Whether there is anything to choose: as many candidates as finalists all go on."""
        return len(self.candidates) > self.finalists

    def constructed(self, tasks: Iterable[str]) -> list[dict[str, Any]]:
        """The recipes that make any of `tasks`, for a run's configuration."""
        wanted = set(tasks)
        return [r.choice.to_dict() for r in self.recipes if wanted & set(r.tasks)]


def choose_one(kind: str, raw: object) -> Choice:
    """One method or architecture. Raises `UserError` for several, and for `single_task`."""
    items = list(raw) if isinstance(raw, list | tuple) else [raw]
    if len(items) != 1:
        raise UserError(
            f"{kind}: expected one, found {len(items)}. Choose helpers under one {kind}, and "
            "compare others with polytask.compare."
        )
    found = choose(kind, items[0])
    if kind == "architecture" and found.name == ALONE:
        raise UserError(
            "architecture: single_task shares nothing, so no helper could help. Name a way of "
            "sharing, such as 'hard_sharing'."
        )
    return found


def known_main(main: Any, tasks: Iterable[str]) -> str:
    """The main task's name. Raises `UserError` when there is no such task."""
    names = list(tasks)
    if not isinstance(main, str):
        raise UserError(
            f"main: expected the name of one task, found {main!r}. Known: {', '.join(names)}."
        )
    if main not in names:
        raise unknown("main task", main, names)
    return main


def known_candidates(
    candidates: Sequence[str] | str | None,
    main: str,
    tasks: Iterable[str],
    made: Sequence[str] = (),
) -> tuple[str, ...]:
    """The candidates, by default every other task; those that recipes make always.

    Raises `UserError` for one that does not exist, is the main task, or stands there twice, and
    when there is none.
    """
    others = [*(task for task in tasks if task != main), *made]
    if candidates is None:
        named = others
    else:
        named = [str(name) for name in listed(candidates)]
        for name in named:
            if name == main:
                raise UserError(
                    f"candidates: {name!r} is the main task, which cannot be its own helper. "
                    "Leave it out, or name another main task."
                )
            if name not in others:
                raise unknown("candidate", name, others)
        if len(set(named)) < len(named):
            twice = next(name for name in named if named.count(name) > 1)
            raise UserError(f"candidates: {twice!r} is given twice. Once will do.")
    named += [task for task in made if task not in named]
    if not named:
        raise UserError(
            f"candidates: expected at least one helper task for {main!r}, found none. Give data "
            "with more targets, or construct helpers with auxiliary=[...]."
        )
    return tuple(named)


def with_roles(dataset: Dataset, main: str, candidates: Iterable[str]) -> Dataset:
    """The data set with the main task first and, as auxiliary ones, the candidates it has."""
    tasks = {main: replace(dataset.tasks[main], role="main")}
    for name in candidates:
        if name in dataset.tasks:
            tasks[name] = replace(dataset.tasks[name], role="auxiliary")
    targets = {name: dataset.targets[name] for name in tasks}
    return replace(dataset, targets=targets, tasks=tasks)


def check_finalists(finalists: Any) -> int:
    """How many go on. Raises `UserError` unless it is a whole number above 0."""
    if isinstance(finalists, list | tuple):
        raise UserError(
            f"finalists: expected how many go on, found {finalists!r}. To say which, name them: "
            "candidates=[...]."
        )
    return int(positive(finalists, "finalists", whole=True))
