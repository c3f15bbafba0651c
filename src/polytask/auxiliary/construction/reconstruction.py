"""Reconstruction: the input itself, as numbers to predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from polytask.auxiliary._base import Addition, Construction
from polytask.auxiliary.construction import _sources
from polytask.data import Dataset
from polytask.tasks import Task

_WHO = "reconstruction"


class Reconstruction(Construction):
    """The input itself: the picture at every place, or the numeric columns of a table.

    The auto-encoder as a helper: what the encoder keeps must also rebuild its input. As one of
    the helpers for representation learning in S. Ruder 2017,
    https://arxiv.org/abs/1706.05098, section 8. Targets are in the units of the raw input and
    standardised as any regression target is, by channel or column. Missing and infinite values
    have no label. All rows have labels, so the task is scored on validation and test.

    A picture is a dense task [C, H, W]: its head answers at every place of the encoder's last
    map and is resized, so fine detail depends on an encoder that keeps places.

    Args:
        columns: of a table, the numeric columns to predict; None is all. One that is constant
            in the training part of some seed has to be left out.
        loss: squared, huber or l1, of standardised values; the last two bear outliers.
        name: of the task.

    """

    paper = "Ruder 2017"
    makes = "the input itself"
    requires = "images or numeric columns"

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        loss: Literal["squared", "huber", "l1"] = "squared",
        name: str = "reconstruction",
    ) -> None:
        self.columns = None if columns is None else _sources.listed(columns, "columns", _WHO)
        self.loss = loss
        self.name = name

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One regression task with a value a channel or column."""
        return (_sources.input_task(dataset, self.columns, self.name, self.loss, _WHO),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """The input of every row. `seed` plays no part.

        Raises `UserError` for a column without two different values among the training rows.
        """
        return Addition({self.name: _sources.input_target(dataset, self.columns, train, _WHO)})
