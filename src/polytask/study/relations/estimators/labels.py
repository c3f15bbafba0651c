"""Labels: how much the labels of two tasks say about each other, without any training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polytask.auxiliary import label_affinity
from polytask.auxiliary._label_affinity import MEASURES
from polytask.errors import PolytaskError, UserError, unknown
from polytask.relationships import Affinity
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._base import Estimator

if TYPE_CHECKING:
    from polytask.data import Dataset
    from polytask.study.relations.plan import RelationPlan
    from polytask.tasks import Task


class Labels(Estimator):
    """Labels: how much the labels of two tasks say about each other, without any training.

    Normalised mutual information, or the share of variance explained, of the labels on the
    training rows of seed 0, less what chance gives (`polytask.auxiliary.label_affinity` says
    what is computed, and what is not defined). 1 is a copy, 0 is nothing in common. It tells who
    is alike, not who helps whom, and it is the same in both directions.

    Cost: no run; seconds.

    Args:
        measure: 'information' or 'correlation'.
        bins: how many equally full ones a regression target is cut into, for the information.
        max_rows: most rows that are read for a pair.

    Raises:
        UserError: a word or number that cannot be.
    """

    needs = "the labels alone"
    unit = "share in common, less chance"
    gains = False
    records = False

    def __init__(
        self,
        measure: Literal["information", "correlation"] = "information",
        bins: int = 8,
        max_rows: int = 5000,
    ) -> None:
        if measure not in MEASURES:
            raise unknown("measure of labels", measure, MEASURES)
        for word, value, least in (("bins", bins, 2), ("max_rows", max_rows, 10)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(
                    f"labels: {word} must be a whole number of at least {least}, found {value!r}."
                )
        self.measure = measure
        self.options: dict[str, Any] = {"bins": bins, "max_rows": max_rows}
        self._data: tuple[Mapping[str, Task], dict[str, np.ndarray]] | None = None

    def prepare(self, dataset: Dataset, splits: Mapping[str, np.ndarray]) -> None:
        """Keep the labels of the training rows."""
        train = splits["train"]
        self._data = dataset.tasks, {n: dataset.targets[n][train] for n in dataset.tasks}

    def units(self, plan: RelationPlan, outcomes: Outcomes) -> list[Unit]:
        """None."""
        return []

    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """From the labels that `prepare` was shown."""
        if self._data is None:
            raise PolytaskError("the estimator labels was asked before it was shown the data.")
        tasks, targets = self._data
        wanted = {name: tasks[name] for name in plan.tasks}
        return label_affinity(wanted, targets, measure=self.measure, **self.options)
