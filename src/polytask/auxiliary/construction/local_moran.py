"""Local Moran's I of a regression target: how far a label agrees with the labels around it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from polytask.auxiliary import moran
from polytask.auxiliary._base import Addition, Construction
from polytask.auxiliary._weights import knn_weights
from polytask.auxiliary.construction._maps import of_maps, regression_target
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.tasks import Task


class LocalMoran(Construction):
    """The local Moran's I of a target, on its map or among the nearest training places.

    A helper that makes a network heed how a value lies among its neighbours: K. Klemmer and
    D. Neill, "Auxiliary-task learning for geographic data with autoregressive embeddings" (SXL),
    SIGSPATIAL 2021, https://arxiv.org/abs/2006.10461, where the weight of its loss is one of .01,
    .1 and 1. The statistic is `polytask.auxiliary.local_moran`.

    A target with a map a row [N, H, W] gives a map a row: every row's from its own labels, so that
    validation rows have one too. Cells without a label get none; they are nobody's neighbours,
    and a cell with none at all around it has 0. A constant map gives zeros.

    A target with one number a row needs `Dataset.coordinates`. Neighbours are the k nearest
    among the training rows with a label, so nothing of another row is in it; the statistic of a
    row that is not in training would need its neighbours' labels, so those rows have no label and
    the task no validation score. Values have heavy tails: a huber or l1 loss may serve better, as
    may normalize.

    Args:
        of: the regression task to read; the only one when left out.
        k: neighbours of a place; of maps, no part.
        weights: neighbours on a map share an edge (rook) or an edge or a corner (queen).
        standardize: "row" divides by the number of neighbours on a map, "none" adds them up.
        normalize: "minmax" brings each map (of places, all values) to [-1, 1], as the published
            code does.
        loss: of the task: squared, huber or l1.
        name: of the task; by default `{of}_moran`.
    """

    paper = "Klemmer 2021"
    makes = "how a regression target agrees with its neighbours"
    requires = "a regression target with a map a row, or with coordinates"

    def __init__(
        self,
        of: str | None = None,
        k: int = 8,
        weights: Literal["queen", "rook"] = "queen",
        standardize: Literal["row", "none"] = "row",
        normalize: Literal["minmax"] | None = None,
        loss: Literal["squared", "huber", "l1"] = "squared",
        name: str | None = None,
    ) -> None:
        if k < 1:
            raise UserError(f"local_moran: k should be at least 1, found {k}.")
        moran.check_words(weights, standardize, normalize)
        self.of = of
        self.k = k
        self.weights = weights
        self.standardize = standardize
        self.normalize = normalize
        self.loss = loss
        self.name = name

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One regression task."""
        source = self._source(dataset)
        name = self.name or f"{source}_moran"
        return (Task(name, "regression", role="auxiliary", loss_function=self.loss),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """Maps of all rows, or values of the labelled training rows. `seed` plays no part.

        Raises `UserError` when k or fewer training rows have a label.
        """
        (task,) = self.tasks(dataset)
        values = dataset.targets[self._source(dataset)]
        if values.ndim == 3:
            return Addition({task.name: self._maps(values)})
        assert dataset.coordinates is not None
        return Addition({task.name: self._places(values, dataset.coordinates, train)})

    def _maps(self, values: np.ndarray) -> np.ndarray:
        """float32 [N, H, W]: the statistic of every row's own map."""
        (found,) = of_maps(
            values,
            lambda maps, there: moran.local_moran(
                maps, self.weights, self.standardize, self.normalize, present=there
            ),
        )
        return found

    def _places(self, values: np.ndarray, places: np.ndarray, train: np.ndarray) -> np.ndarray:
        """float32 [N]: the statistic among the labelled training rows, NaN elsewhere."""
        known = train[np.isfinite(values[train])]
        if len(known) <= self.k:
            raise UserError(
                f"local_moran: {len(known)} training rows have a label; expected more than the "
                f"k={self.k} neighbours. Take a smaller k."
            )
        weights = knn_weights(places[known], self.k)
        labels = torch.from_numpy(values[known]).double()[None, None]
        found = np.full(len(values), np.nan, np.float32)
        found[known] = moran.local_moran(labels, weights, normalize=self.normalize)[0, 0].numpy()
        return found

    def _source(self, dataset: Dataset) -> str:
        """The task to read. Raises `UserError` when there is none, or no coordinates for it."""
        source = regression_target(dataset, self.of, (1, 3), "local_moran")
        if dataset.targets[source].ndim == 1 and dataset.coordinates is None:
            raise UserError(
                f"local_moran: {source!r} has one number a row, and {dataset.name!r} does not say "
                "where its rows are; expected Dataset.coordinates. Name two columns of a table, as "
                "in split='spatial:X,Y' or table_dataset(coordinates=['X', 'Y'])."
            )
        return source
