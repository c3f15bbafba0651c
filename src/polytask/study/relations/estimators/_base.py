"""What every way of measuring affinities in a study has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from polytask.errors import UserError, count
from polytask.relationships import Affinity
from polytask.study.plan import Outcomes, Unit

if TYPE_CHECKING:
    from polytask.data import Dataset
    from polytask.study.relations.plan import RelationPlan


class Estimator(ABC):
    """One way of measuring an `Affinity`, with the runs of a study that it takes.

    Constructor arguments are what YAML and the command line can set. Class attributes are
    literals, so that lists of estimators need no import.
    """

    needs: ClassVar[str] = ""
    """What is trained or read for it, in a few words."""
    unit: ClassVar[str] = ""
    """What a number means, in a few words."""
    gains: ClassVar[bool] = True
    """Whether 0 is as good as training alone, so that a task may be better off alone."""
    records: ClassVar[bool] = False
    """Whether it is recorded along the ordinary training of all tasks, see `recorders`."""

    def recorders(self) -> Mapping[str, Any]:
        """What the training of all tasks is to record: keys of a run's configuration."""
        return {}

    def prepare(self, dataset: Dataset, splits: Mapping[str, np.ndarray]) -> None:
        """See the data, once, before `units` and `affinity` are asked for anything.

        For estimators that read labels or inputs without a run; most need nothing of it. What is
        chosen by it must come from the training rows alone.

        Args:
            dataset: the study's data set, with all its tasks.
            splits: numbers of the rows of "train", "val" and "test" for seed 0.
        """
        return

    def later(self, plan: RelationPlan) -> int:
        """How many runs follow when those of `units(plan, {})` have ended, for the forecast."""
        return 0

    @abstractmethod
    def units(self, plan: RelationPlan, outcomes: Outcomes) -> list[Unit]:
        """The runs that are known by now; more may follow when these have ended."""

    @abstractmethod
    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """The affinities, once all its runs have ended.

        A `cost` that is a number is understood in ordinary trainings of all tasks.

        Raises `UserError` with the reason when they cannot be told, because runs failed, say.
        """

    def levels(self, plan: RelationPlan, outcomes: Outcomes) -> list[Affinity]:
        """The affinities at every stage of the encoder, from the first, where it knows them.

        Raises `UserError` when it does not.
        """
        raise UserError(f"{type(self).__name__} does not tell how alike tasks are by depth.")

    def costs(self, plan: RelationPlan, outcomes: Outcomes) -> list[float] | None:
        """What a copy of every stage costs, for a tree of branches; None counts stages."""
        return None


def recorded(plan: RelationPlan, outcomes: Outcomes, word: str) -> list[Mapping[str, Any]]:
    """What the trainings of all tasks recorded under a key, one a seed; failed ones left out.

    Raises `UserError` when none has a record.
    """
    ended = [outcomes[plan.together(seed).hash] for seed in range(plan.seeds_measured)]
    found = [outcome[word] for outcome in ended if outcome.get(word)]
    if not found:
        causes = [str(outcome["error"]) for outcome in ended if "error" in outcome]
        raise UserError(
            "the training of all tasks together recorded nothing"
            + (f": {causes[0]}" if causes else ".")
        )
    return found


def known(affinity: Affinity) -> bool:
    """Whether the affinity of any two tasks is."""
    off = ~np.eye(len(affinity.tasks), dtype=bool)
    return bool(np.isfinite(affinity.values[off]).any())


def too_few(made: int, needed: int, records: Sequence[Mapping[str, Any]]) -> str:
    """Why records of so few steps tell nothing, and what to do."""
    skipped: Counter[str] = Counter()
    for record in records:
        skipped.update(record["skipped"])
    causes = skipped.most_common(1)
    why = f" (others were passed over: {causes[0][0].rstrip('.')})" if causes else ""
    return (
        f"{count(made, 'step')} of the training of all tasks could be measured, and {needed} are "
        f"needed{why}. Train more epochs, or in smaller batches."
    )
