"""What a study of relationships is asked: how to measure, how many groups, what to check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask import registry
from polytask.errors import UserError, some
from polytask.relationships import Affinity
from polytask.relationships.affinity import as_affinity
from polytask.study.settings import Choice, Settings, choose, listed, positive

if TYPE_CHECKING:
    from polytask.data import Dataset

AUTO, NEVER = "auto", "never"
TREES = ("rsa", "cka")
"""Estimators that tell how alike tasks are at every depth of a network."""


@dataclass(frozen=True)
class Relation:
    """Everything that decides what the runs of a study of relationships compute. All is JSON."""

    study: Settings
    """`methods` and `architectures` hold one each; every task is a main one."""
    estimators: tuple[Choice, ...]
    """The first decides; none where the affinities were given."""
    max_groups: int = 3
    alone: float | str | None = AUTO
    """What a group of one is worth; None forbids it, "auto" leaves it to the estimator."""
    check: bool = True
    randoms: int = 3
    branches: str | None = None
    """The estimator whose tree is trained, too."""
    seeds_measured: int = 1
    budget: float | None = None
    """What the groups may cost together."""
    budget_in: str = "networks"
    """Networks, or "parameters" or "latency" in multiples of one network for all tasks."""

    @property
    def method(self) -> Choice:
        """How a network of several tasks is balanced."""
        return self.study.methods[0]

    @property
    def architecture(self) -> Choice:
        """How tasks share."""
        return self.study.architectures[0]

    def worth_alone(self, gains: bool) -> float | None:
        """What a group of one is worth with an estimator whose numbers are gains, or not."""
        if self.alone == AUTO:
            return 0.0 if gains else None
        return None if self.alone is None else float(self.alone)


def choose_estimators(raw: Iterable[object] | str | Mapping[str, Any]) -> tuple[Choice, ...]:
    """The ways of measuring; a mapping is several names with arguments.

    Raises `UserError` for none at all, an unknown word, and one that is there twice.
    """
    rows: Iterable[object] = (
        [{k: v} for k, v in raw.items()] if isinstance(raw, Mapping) else listed(raw)
    )
    found = tuple(choose("estimator", item) for item in rows)
    if not found:
        raise UserError(
            f"estimators: expected at least one, found none. Known: "
            f"{some(registry.names('estimator'))}."
        )
    names = [choice.name for choice in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"estimators: {name!r} is given twice. Ask for its variants in studies of their "
                "own; runs that they share are not shared then."
            )
    return found


def choose_branches(branches: Any, estimators: tuple[Choice, ...]) -> str | None:
    """The estimator whose tree is wanted. Raises `UserError` for one that has no tree."""
    if branches is False or branches is None:
        return None
    if branches is True:
        named = [choice.name for choice in estimators if choice.name in TREES]
        return named[0] if named else TREES[0]
    if branches not in TREES:
        raise UserError(
            f"branches: expected true, false or one of {some(TREES)}, which compare tasks at every "
            f"depth of a network; found {branches!r}."
        )
    return str(branches)


def check_alone(alone: Any) -> float | str | None:
    """What a group of one is worth. Raises `UserError` unless a number, "auto" or "never"."""
    if alone is None or alone == NEVER:
        return None
    if alone == AUTO:
        return AUTO
    if isinstance(alone, bool) or not isinstance(alone, int | float) or alone - alone != 0:
        raise UserError(
            f"alone: expected what a task in a group of its own is worth, a number in the units of "
            f"the affinities, or 'auto', or 'never'; found {alone!r}."
        )
    return float(alone)


def check_randoms(randoms: Any) -> int:
    """How many random groupings. Raises `UserError` unless a whole number of at least 0."""
    return int(positive(randoms, "randoms", whole=True, least=-1))


def no_main_task(method: Choice) -> Choice:
    """The method. Raises `UserError` for one with a main task."""
    if "main" in registry.find("method", method.name).arguments:
        raise UserError(
            f"method: {method.name} helps one main task, and here every task is judged. Name one "
            "that treats tasks alike, such as 'linear', or ask polytask.select_auxiliaries which "
            "helpers a main task needs."
        )
    return method


def read_affinity(given: Any) -> Affinity | None:
    """The affinities that were given: an object, or the path of a file. Raises `UserError`."""
    if given is None:
        return None
    return Affinity.load(given) if isinstance(given, str | Path) else as_affinity(given)


def ordered(affinity: Affinity, tasks: Iterable[str]) -> Affinity:
    """The affinities with their tasks in this order. Raises `UserError` for other tasks."""
    wanted = tuple(tasks)
    if set(wanted) != set(affinity.tasks):
        raise UserError(
            f"affinity: expected the tasks of the data, {some(wanted)}; found "
            f"{some(affinity.tasks)}. Give a value for each of them, or choose targets=[...]."
        )
    places = [affinity.tasks.index(task) for task in wanted]
    errors = affinity.standard_errors
    return replace(
        affinity,
        tasks=wanted,
        values=affinity.values[places][:, places],
        standard_errors=None if errors is None else errors[places][:, places],
    )


def all_main(dataset: Dataset) -> Dataset:
    """The data set with every task judged: whoever is grouped is served."""
    tasks = {n: replace(t, role="main", reverse=0.0) for n, t in dataset.tasks.items()}
    return replace(dataset, tasks=tasks)
