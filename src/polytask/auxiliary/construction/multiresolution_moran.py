"""Local Moran's I of a map at several resolutions: one helper task for each."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from polytask.auxiliary import moran
from polytask.auxiliary._base import Addition, Construction
from polytask.auxiliary.construction._maps import of_maps, regression_target
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.tasks import Task


class MultiresolutionMoran(Construction):
    """The local Moran's I of every row's map at 1, 2, 4, ... cells a block: a task for each.

    K. Klemmer and D. Neill, "Auxiliary-task learning for geographic data with autoregressive
    embeddings" (SXL, MRES-MAT), SIGSPATIAL 2021, https://arxiv.org/abs/2006.10461. Task r is
    level r of `polytask.auxiliary.multiresolution_moran`, as large as the map; level 0 is what the
    recipe `local_moran` gives. Every row's maps follow from its own labels, so that validation
    rows have them too. Cells without a label get none; a block is the mean of those it has.

    Args:
        of: the regression task to read, with a map [N, H, W]; the only one when left out.
        levels: how many; the coarsest grid needs 2 cells or more.
        weights: neighbours share an edge (rook) or an edge or a corner (queen).
        standardize: "row" divides by the number of neighbours, "none" adds them up.
        normalize: "minmax" brings each map to [-1, 1], as the published code does.
        loss: of the tasks: squared, huber or l1.
        name: tasks are called `{name}_0`, `{name}_1`, ...; by default `{of}_moran_0`, ...
    """

    paper = "Klemmer 2021"
    makes = "how a map agrees with its neighbourhood, at several scales"
    requires = "a regression target with a map a row"

    def __init__(
        self,
        of: str | None = None,
        levels: int = 3,
        weights: Literal["queen", "rook"] = "queen",
        standardize: Literal["row", "none"] = "row",
        normalize: Literal["minmax"] | None = None,
        loss: Literal["squared", "huber", "l1"] = "squared",
        name: str | None = None,
    ) -> None:
        if levels < 1:
            raise UserError(f"multiresolution_moran: levels should be at least 1, found {levels}.")
        moran.check_words(weights, standardize, normalize)
        self.of = of
        self.levels = levels
        self.weights = weights
        self.standardize = standardize
        self.normalize = normalize
        self.loss = loss
        self.name = name

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One regression task for each level. Raises `UserError` when maps are too small."""
        source = regression_target(dataset, self.of, (3,), "multiresolution_moran")
        moran.check_levels(self.levels, dataset.targets[source].shape[1:])
        return tuple(
            Task(
                f"{self.name or f'{source}_moran'}_{level}",
                "regression",
                role="auxiliary",
                loss_function=self.loss,
            )
            for level in range(self.levels)
        )

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """Maps of all rows. Neither `train` nor `seed` plays a part."""
        source = regression_target(dataset, self.of, (3,), "multiresolution_moran")
        found = of_maps(dataset.targets[source], self._levels)
        tasks = self.tasks(dataset)
        return Addition({task.name: maps for task, maps in zip(tasks, found, strict=True)})

    def _levels(self, maps: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        return moran.multiresolution_moran(
            maps, self.levels, self.weights, self.standardize, self.normalize, present=there
        )
