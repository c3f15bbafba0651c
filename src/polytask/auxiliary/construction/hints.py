"""A hint: whether a feature of a target or an input is there."""

from __future__ import annotations

import numpy as np

from polytask.auxiliary._base import Addition, Construction
from polytask.auxiliary.construction._sources import readable, source
from polytask.data import Dataset
from polytask.data._arrays import MISSING_CODE
from polytask.data.preprocess import token_inputs
from polytask.errors import UserError, unknown
from polytask.tasks import Task


class Hints(Construction):
    """Whether a feature is there: a value is high, a category or a word occurs.

    Y. Abu-Mostafa, "Learning from Hints in Neural Networks", Journal of Complexity 6 (1990),
    https://doi.org/10.1016/0885-064X(90)90006-Y; "hints" in section 8 of S. Ruder 2017,
    https://arxiv.org/abs/1706.05098 (whether a sentence holds a word of opinion, for its
    sentiment). Label 1 of a number: above the quantile of the training part; of a category or a
    class: it is `equals`; of a sequence of codes: `equals` is among them. Missing stays missing.
    All other rows have labels too, so the task is scored.

    Args:
        of: a target, a column, or an input that holds sequences of codes.
        quantile: for numbers, between 0 and 1; the median when left out.
        equals: for categories and codes, the one that is looked for.
        name: of the task; by default `{of}_hint`.

    """

    paper = "Abu-Mostafa 1990"
    makes = "whether a value is high, or a category or word is there"
    requires = "a target or an input to look at"

    def __init__(
        self,
        of: str,
        quantile: float | None = None,
        equals: str | int | float | bool | None = None,
        name: str | None = None,
    ) -> None:
        if quantile is not None and not 0 < quantile < 1:
            raise UserError(f"hints: quantile should be between 0 and 1, found {quantile}.")
        if quantile is not None and equals is not None:
            raise UserError("hints: found quantile and equals; expected one of them.")
        self.of = of
        self.quantile = quantile
        self.equals = equals
        self.name = name or f"{of}_hint".replace("/", "_")

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One binary task."""
        words = token_inputs(dataset)
        if self.of in words:
            numeric, classes = False, None
        elif self.of in readable(dataset):
            found = source(dataset, self.of, "hints")
            numeric, classes = not found.classes, found.classes
        else:
            raise unknown("target or input for hints:", self.of, [*readable(dataset), *words])
        if numeric and self.equals is not None:
            raise UserError(
                f"hints: {self.of!r} holds numbers; expected quantile=, found equals={self.equals}."
            )
        if not numeric and self.equals is None:
            raise UserError(
                f"hints: {self.of!r} holds categories or codes; expected equals= and the one to "
                "look for."
            )
        if classes and self.equals not in classes:
            raise unknown(f"category of {self.of!r} for hints:", self.equals, map(str, classes))
        return (Task(self.name, "binary", role="auxiliary"),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """Labels by the quantile of the training part, or by looking. `seed` plays no part."""
        if self.of in token_inputs(dataset):
            codes = dataset.inputs[self.of]
            present = (codes == self.equals).reshape(len(codes), -1).any(axis=1)
            return Addition({self.name: present.astype(np.int64)})
        found = source(dataset, self.of, "hints")
        if found.classes:
            wanted = found.classes.index(self.equals)
            missing = found.values == MISSING_CODE
            present = found.values == wanted
        else:
            missing = np.isnan(found.values)
            known = found.values[train][~missing[train]]
            if not len(known):
                raise UserError(f"hints: no training row has a value of {self.of!r}.")
            share = 0.5 if self.quantile is None else self.quantile
            present = found.values > np.quantile(known, share)
        return Addition({self.name: np.where(missing, MISSING_CODE, present).astype(np.int64)})
