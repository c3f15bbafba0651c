"""The estimators of a study, made from their names, or the affinities that were given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polytask import registry
from polytask.errors import UserError
from polytask.relationships import Affinity
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._base import Estimator
from polytask.study.settings import Choice

if TYPE_CHECKING:
    from polytask.study.relations.plan import RelationPlan
    from polytask.study.relations.settings import Relation

GIVEN = "given"


@dataclass(frozen=True)
class Measure:
    """An estimator with the words for it."""

    name: str
    label: str
    estimator: Estimator

    @property
    def gains(self) -> bool:
        """Whether 0 is as good as training alone."""
        return self.estimator.gains


class Given(Estimator):
    """Affinities that were measured elsewhere."""

    needs = "nothing: the affinities were given"
    unit = ""
    gains = False

    def __init__(self, table: Affinity) -> None:
        self.table = table

    def units(self, plan: RelationPlan, outcomes: Outcomes) -> list[Unit]:
        """None."""
        return []

    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """What was given."""
        return self.table


def create_estimator(choice: Choice) -> Estimator:
    """The estimator of a checked choice. Raises `UserError` for a value that cannot be."""
    found = registry.create("estimator", choice.name, **choice.arguments)
    if not isinstance(found, Estimator):
        raise UserError(
            f"estimator {choice.name}: expected a subclass of Estimator, found "
            f"{type(found).__name__}."
        )
    return found


def measures(relation: Relation, given: Affinity | None) -> tuple[Measure, ...]:
    """What measures in a study, the one that decides first.

    Raises `UserError` for estimators that want different records under one word.
    """
    found = tuple(Measure(c.name, c.label, create_estimator(c)) for c in relation.estimators)
    if given is not None:
        found = (Measure(GIVEN, GIVEN, Given(given)), *found)
    agree(found)
    return found


def agree(found: Iterable[Measure]) -> None:
    """Raise `UserError` for estimators that want different records under one word."""
    wanted: dict[str, tuple[object, str]] = {}
    for measure in found:
        for word, value in measure.estimator.recorders().items():
            before, who = wanted.setdefault(word, (value, measure.name))
            if before != value:
                raise UserError(
                    f"estimators: {who} and {measure.name} both record {word!r} along the training "
                    f"of all tasks, as {before!r} and {value!r}. Give both the same arguments."
                )
