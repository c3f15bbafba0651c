"""A target cut into bins: its coarse value, as classes."""

from __future__ import annotations

import numpy as np

from polytask.auxiliary._base import Addition, Construction, without_label
from polytask.data import Dataset
from polytask.errors import UserError, unknown
from polytask.tasks import Task


class Quantised(Construction):
    """Which of k bins, equally full in training, a regression target falls into.

    A coarse version of the main target as classes, which a network may find easier to learn at
    first (Ruder 2017, https://arxiv.org/abs/1706.05098, section 8, "quantization smoothing").
    Bins are [edge, next edge), the outer ones open; edges are quantiles of the training labels.

    Args:
        of: the regression task to cut; the only one when left out.
        bins: how many, at least 2.
        name: of the task; by default `{of}_bins`.
    """

    paper = "Ruder 2017"
    makes = "the bin of a regression target"
    requires = "a regression target with one value a row"

    def __init__(self, of: str | None = None, bins: int = 4, name: str | None = None) -> None:
        if bins < 2:
            raise UserError(f"quantised: bins should be at least 2, found {bins}.")
        self.of = of
        self.bins = bins
        self.name = name

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One task of `bins` classes."""
        source = self._source(dataset)
        name = self.name or f"{source}_bins"
        classes = tuple(range(self.bins))
        return (Task(name, "multiclass", role="auxiliary", classes=classes),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """Bins of every labelled row, by the edges of the training part. `seed` plays no part.

        Raises `UserError` when the training labels have fewer different values than bins.
        """
        source = self._source(dataset)
        values = dataset.targets[source]
        known = values[train][~np.isnan(values[train])]
        shares = np.arange(1, self.bins) / self.bins
        edges = np.quantile(known, shares) if len(known) else np.empty(0)
        filled = len(np.unique(np.digitize(known, edges)))
        if filled < self.bins:
            raise UserError(
                f"quantised: the {len(known)} training labels of {source!r} fill only "
                f"{filled} of {self.bins} bins. Take fewer bins."
            )
        codes = np.digitize(values, edges).astype(np.int64)
        missing = np.isnan(values)
        codes[missing] = without_label((int(missing.sum()),), codes)
        (task,) = self.tasks(dataset)
        return Addition({task.name: codes})

    def _source(self, dataset: Dataset) -> str:
        """The task to cut. Raises `UserError` when there is no such regression target."""
        fitting = [
            name
            for name, task in dataset.tasks.items()
            if task.kind == "regression" and dataset.targets[name].ndim == 1
        ]
        if self.of is None and len(fitting) == 1:
            return fitting[0]
        if self.of is None:
            raise UserError(
                f"quantised: expected of=NAME of a regression target, found {len(fitting)} that "
                f"could be meant ({', '.join(fitting)}). Name one."
            )
        if self.of not in fitting:
            raise unknown("regression target for quantised:", self.of, fitting)
        return self.of
