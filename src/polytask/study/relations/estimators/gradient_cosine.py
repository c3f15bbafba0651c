"""Cosine of gradients: whether two tasks pull the shared parameters the same way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polytask.errors import UserError, count, unknown
from polytask.relationships import Affinity, estimate
from polytask.relationships.conflict import FEWEST
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._base import Estimator, known, recorded, too_few

if TYPE_CHECKING:
    from polytask.data import Dataset
    from polytask.study.relations.plan import RelationPlan

STATISTICS = ("tail", "exact")


class GradientCosine(Estimator):
    """Cosine of gradients: whether two tasks pull the shared parameters the same way.

    The cosine between the full data's gradients of two tasks, over one ordinary training of all
    tasks with equal weights, from two halves of a batch at 60 of its steps
    (`polytask.training.ConflictRecorder`, `polytask.relationships.estimate`). It is symmetric, and
    0 is taken as neither help nor harm, so that a task may be better off alone. A pair whose
    cosine is not defined, because a gradient does not stand out from noise, is not known.

    Cost: that training, and at the recorded steps two passes over half a batch.

    Args:
        statistic: 'tail' (the last shared layers) or 'exact' (all that is shared).

    Raises:
        UserError: another statistic.
    """

    needs = "one training of all tasks"
    unit = "cosine of gradients"
    gains = True
    records = True

    def __init__(self, statistic: Literal["tail", "exact"] = "tail") -> None:
        if statistic not in STATISTICS:
            raise unknown("statistic of the cosine", statistic, STATISTICS)
        self.statistic = statistic
        self._rows: int | None = None

    def prepare(self, dataset: Dataset, splits: Mapping[str, np.ndarray]) -> None:
        """Count the training rows, to tell the cost."""
        self._rows = len(splits["train"])

    def recorders(self) -> Mapping[str, Any]:
        """The statistic of a `ConflictRecorder`."""
        return {"conflict": self.statistic}

    def units(self, plan: RelationPlan, outcomes: Outcomes) -> list[Unit]:
        """None but the training that records."""
        return []

    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """From the records of that training."""
        records = recorded(plan, outcomes, "conflict")
        made = sum(len(record["products"]) for record in records)
        if made < FEWEST:
            raise UserError(too_few(made, FEWEST, records))
        told = estimate(records)
        found = Affinity(
            plan.tasks,
            told.cosine,
            told.standard_error,
            measured=f"cosine of gradients ({self.statistic}), {made} steps of "
            f"{count(len(records), 'training')} of all tasks",
            cost=self._cost(plan, records),
        )
        if not known(found):
            raise UserError(f"no cosine is defined: {next(iter(told.reasons.values()))}.")
        return found

    def _cost(self, plan: RelationPlan, records: Sequence[Mapping[str, Any]]) -> float | None:
        """The trainings and their recordings, counted in steps as `AffinityRecorder` does."""
        if self._rows is None:
            return None
        each = 2.0 if self.statistic == "tail" else 1 + 2 * len(plan.tasks) / 3
        made = sum(len(record["products"]) + sum(record["skipped"].values()) for record in records)
        steps = plan.settings.epochs * math.ceil(self._rows / plan.settings.batch_size)
        return round(len(records) + each * made / steps, 3)
