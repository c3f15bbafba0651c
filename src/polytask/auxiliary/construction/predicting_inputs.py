"""Input columns as targets: predicted instead of read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.auxiliary._base import Addition, Construction
from polytask.auxiliary.construction._sources import Source, listed, source
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.tasks import Task


class PredictingInputs(Construction):
    """Named input columns as targets, one task each, instead of as inputs.

    R. Caruana & V. de Sa, "Promoting Poor Features to Supervisors: Some Inputs Work Better as
    Outputs", NIPS 1996; section 8 of S. Ruder 2017, https://arxiv.org/abs/1706.05098. A noisy
    feature may hurt as an input and still help as something to predict. A numeric column makes
    a regression, a categorical one a multiclass task. Missing values have no label. All rows have
    labels, so the tasks are scored.

    The columns are hidden from the networks that have these tasks, and not from networks
    without helpers: the comparison is the paper's. New tables need not have the columns.

    Args:
        columns: the columns to predict.
        keep_as_input: leave them among the inputs as well; a copy is then easy to learn.
        prefix: put before a column's name to name its task.

    """

    paper = "Caruana 1996"
    makes = "input columns, which the network no longer reads"
    requires = "a table"

    def __init__(
        self, columns: Sequence[str], keep_as_input: bool = False, prefix: str = "input_"
    ) -> None:
        self.columns = listed(columns, "columns", "predicting_inputs")
        self.keep_as_input = keep_as_input
        self.prefix = prefix

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """A task for every column."""
        return tuple(found.task(self._name(found)) for found in self._sources(dataset))

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """The columns of all rows. Nothing is learned or drawn; `train` and `seed` play no part."""
        hidden: dict[str, list[int]] = {}
        targets = {}
        for found in self._sources(dataset):
            assert found.column is not None
            kind, place = found.column
            targets[self._name(found)] = found.values
            if not self.keep_as_input:
                hidden.setdefault(kind, []).append(place)
        return Addition(targets, hidden=dict(hidden))

    def _sources(self, dataset: Dataset) -> list[Source]:
        """The columns. Raises `UserError` for a name that is no input column."""
        found = [source(dataset, name, "predicting_inputs") for name in self.columns]
        for each in found:
            if each.column is None:
                raise UserError(
                    f"predicting_inputs: {each.name!r} is a target of {dataset.name!r} already; "
                    "expected an input column."
                )
        return found

    def _name(self, found: Source) -> str:
        # A task's name may hold no slash.
        return f"{self.prefix}{found.name}".replace("/", "_")
