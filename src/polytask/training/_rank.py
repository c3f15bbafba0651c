"""The selection rule `mean_rank`, whose values move as epochs are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.metrics import Undefined
from polytask.tasks import Task
from polytask.training._rules import Rule, Score, Scores, oriented


class MeanRank(Rule):
    """Minus the mean over the main tasks of the epoch's rank among all epochs (1 is best).

    Equal scores share their mean rank. A task undefined at an epoch does not rank it, and its
    mean is over the other tasks. Ranks move as epochs are added, so an epoch that trails now
    may win later. Only an epoch that another one equals or beats in every task never can:
    the weights of all the others (the Pareto front of the epochs so far) have to be kept.
    Cost: one copy of the weights per epoch of that front, on disk when there is a run folder
    and in CPU memory otherwise: a few for 2 tasks, up to every epoch for many tasks.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__("mean_rank", tasks)

    def values(self, epochs: Sequence[Scores]) -> list[Score]:
        """Minus the mean rank of every epoch."""
        table = self._table(epochs)
        better = (table[None, :, :] > table[:, None, :]).sum(1)
        equal = (table[None, :, :] == table[:, None, :]).sum(1)  # an epoch equals itself
        ranks = better + (equal + 1) / 2
        defined = ~np.isnan(table)
        out: list[Score] = []
        for row, known in zip(ranks, defined, strict=True):
            value = -float(row[known].mean()) if known.any() else Undefined("no task is ranked")
            out.append(value)
        return out

    def alive(self, epochs: Sequence[Scores]) -> set[int]:
        """The Pareto front: epochs that no other equals or beats in every task."""
        table = self._table(epochs)
        defined = ~np.isnan(table)
        kept = set()
        for i, scores in enumerate(epochs):
            mine = defined[i]
            if mine.any() and not any(
                self._rules_out(table[j], table[i], mine, earlier=j < i)
                for j in range(len(epochs))
                if j != i and (defined[j] == mine).all()
            ):
                kept.add(scores.epoch)
        return kept

    @staticmethod
    def _rules_out(other: np.ndarray, one: np.ndarray, known: np.ndarray, earlier: bool) -> bool:
        """Whether `other` stays ahead of `one` whatever epochs are added."""
        a, b = other[known], one[known]
        return bool((a >= b).all() and ((a > b).any() or earlier))

    def _table(self, epochs: Sequence[Scores]) -> np.ndarray:
        """Oriented scores [epochs, tasks], NaN where undefined."""
        table = np.full((len(epochs), len(self.tasks)), np.nan)
        for i, scores in enumerate(epochs):
            read = self._read(scores)
            for j, task in enumerate(self.tasks):
                value = oriented(read[task.name], task)
                if not isinstance(value, Undefined):
                    table[i, j] = value
        return table
