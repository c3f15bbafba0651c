"""Nuisance: what the representation is to forget, by a reversed gradient."""

from __future__ import annotations

import numpy as np

from polytask.auxiliary._base import Addition, Construction, without_label
from polytask.auxiliary.construction._sources import Source, source
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.tasks import Task


class Nuisance(Construction):
    """What the representation is to forget: where a row comes from, a protected attribute.

    The domain-adversarial network of Y. Ganin & V. Lempitsky, ICML 2015,
    https://arxiv.org/abs/1409.7495. The head learns to tell the class of the nuisance; its
    gradient is reversed and scaled by `strength` below the head, so that what it reads learns to
    hide it (`Task.reverse`). The paper lets `strength` grow from 0 to 1 in training and adds the
    unlabelled rows of the target domain; here it is constant, and rows are those of the data.

    Parts of a task's own below its head are reversed too and can hide the class by themselves: take
    an architecture whose heads read what tasks share, such as `hard_sharing` or `mmoe`.

    Rows of a group that has no training row have no label. Others have one, so the task is
    scored: a good score says that the nuisance can still be told.

    Args:
        of: a categorical column, or a target of classes; the data set's groups when left out.
        strength: lambda, above 0.
        keep_as_input: leave such a column among the inputs, where it is easily told.
        name: of the task; by default `{of}_nuisance`.

    """

    paper = "Ganin 2015"
    makes = "a class that the representation learns to hide"
    requires = "groups, a categorical column or a target of classes"

    def __init__(
        self,
        of: str | None = None,
        strength: float = 1.0,
        keep_as_input: bool = False,
        name: str | None = None,
    ) -> None:
        if not 0 < strength < float("inf"):
            raise UserError(f"nuisance: strength should be above 0, found {strength}.")
        self.of = of
        self.strength = strength
        self.keep_as_input = keep_as_input
        self.name = name or f"{of or 'group'}_nuisance".replace("/", "_")

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One task of as many classes as there are, its gradient reversed."""
        return (self._source(dataset).task(self.name, reverse=self.strength),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """The class of every row, as far as training has it. `seed` plays no part."""
        found = self._source(dataset)
        seen = np.isin(found.values, found.values[train])
        codes = np.where(seen, found.values, without_label((dataset.n,), found.values))
        hidden: dict[str, list[int]] = {}
        if found.column is not None and not self.keep_as_input:
            kind, place = found.column
            hidden[kind] = [place]
        return Addition({self.name: codes}, hidden=dict(hidden))

    def _source(self, dataset: Dataset) -> Source:
        """The classes to hide. Raises `UserError` when there are none, or one alone."""
        if self.of is None:
            if dataset.groups is None:
                raise UserError(
                    f"nuisance: {dataset.name!r} has no groups; name a categorical column or a "
                    "target, of=NAME."
                )
            classes = tuple(range(int(dataset.groups.max()) + 1))
            found = Source("group", dataset.groups, classes)
        else:
            found = source(dataset, self.of, "nuisance")
        if not found.classes:
            raise UserError(
                f"nuisance: {found.name!r} holds numbers; expected classes. Cut it into classes "
                "before, or name a categorical column."
            )
        if len(found.classes) < 2:
            raise UserError(f"nuisance: {found.name!r} has one class only; nothing can be told.")
        return found
