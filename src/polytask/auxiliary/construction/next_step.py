"""Next step: a value as it will be in the next row in time."""

from __future__ import annotations

import numpy as np

from polytask.auxiliary._base import Addition, Construction, column_names, without_label
from polytask.auxiliary.construction._sources import source
from polytask.data import Dataset
from polytask.errors import UserError, unknown
from polytask.tasks import Task


class NextStep(Construction):
    """A target or input column as it will be in the next row in time of the same group.

    "Using the future to predict the present": R. Caruana, "Multitask Learning", Machine Learning
    28 (1997), section 3.1, https://doi.org/10.1023/A:1007379606734; S. Ruder 2017, section 8.
    Rows of a group are put in order of time, all rows of the data set being counted; a training
    row gets the value of the next one if that is a training row too, and otherwise no label:
    validation and test stay unseen. Rows outside training have none, so the task is not scored.

    Args:
        of: the target or column to look ahead at; missing values stay missing.
        steps: how many rows ahead, at least 1.
        time: numeric column with the time; by default the data set's own (`Dataset.times`, as
            of `--split time:COLUMN`).
        group: column that tells series apart; by default `Dataset.groups`, or one series.
        name: of the task; by default `next_{of}`.

    """

    paper = "Caruana 1997"
    makes = "a value of the next row in time"
    requires = "times; in a group every row has its own"

    def __init__(
        self,
        of: str,
        steps: int = 1,
        time: str | None = None,
        group: str | None = None,
        name: str | None = None,
    ) -> None:
        if steps < 1:
            raise UserError(f"next_step: steps should be at least 1, found {steps}.")
        self.of = of
        self.steps = steps
        self.time = time
        self.group = group
        self.name = name or f"next_{of}".replace("/", "_")

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One task of the kind of what it looks ahead at."""
        self._ahead(dataset)
        return (source(dataset, self.of, "next_step").task(self.name),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """Values of the rows ahead, where both are training rows. `seed` plays no part.

        Raises `UserError` when there is no such pair: a random split of long series has few.
        """
        values = source(dataset, self.of, "next_step").values
        target = without_label((dataset.n,), values)
        here, ahead = self._ahead(dataset)
        learned = np.isin(here, train) & np.isin(ahead, train)
        if not learned.any():
            raise UserError(
                f"next_step: no training row is followed by one, {self.steps} later in time. Split "
                "by time or by group, so that rows of a series stay together."
            )
        target[here[learned]] = values[ahead[learned]]
        return Addition({self.name: target})

    def _ahead(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers, and those of the rows so many steps ahead in the same group."""
        times, groups = self._times(dataset), self._groups(dataset)
        order = np.lexsort((times, groups))
        same = groups[order[1:]] == groups[order[:-1]]
        if (same & (times[order[1:]] == times[order[:-1]])).any():
            raise UserError(
                "next_step: two rows of one group have the same time, so neither is the next. "
                "Name the column that tells the series apart, group=COLUMN."
            )
        here, ahead = order[: -self.steps], order[self.steps :]
        together = groups[here] == groups[ahead]
        return here[together], ahead[together]

    def _times(self, dataset: Dataset) -> np.ndarray:
        if self.time is None:
            if dataset.times is None:
                raise UserError(
                    f"next_step: {dataset.name!r} has no order of time. Name a numeric column, "
                    "time=COLUMN, or split by time:COLUMN."
                )
            return dataset.times
        names = column_names(dataset, "numeric")
        if self.time not in names:
            raise unknown("numeric column for next_step:", self.time, names)
        times = dataset.inputs["numeric"][:, names.index(self.time)]
        if not np.isfinite(times).all():
            raise UserError(
                f"next_step: the time column {self.time!r} has missing values; expected none."
            )
        return times

    def _groups(self, dataset: Dataset) -> np.ndarray:
        if self.group is not None:
            values = source(dataset, self.group, "next_step").values
            # Missing is a series of its own.
            return np.unique(np.nan_to_num(values, nan=-np.inf), return_inverse=True)[1]
        return np.zeros(dataset.n, np.int64) if dataset.groups is None else dataset.groups
