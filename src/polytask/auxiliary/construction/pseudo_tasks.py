"""Pseudo-tasks: a task once more, with a head of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from polytask.auxiliary._base import Addition, Construction
from polytask.data import Dataset
from polytask.errors import UserError, some, unknown
from polytask.tasks import Task


class PseudoTasks(Construction):
    """Copies of a task with heads of their own, which differ in how they start.

    E. Meyerson & R. Miikkulainen, "Pseudo-task Augmentation: From Deep Multitask Learning to
    Intratask Sharing and Back", ICML 2018, https://arxiv.org/abs/1803.04062. Several decoders
    learn one task at once, so that the encoder has to serve all of them. Of the paper's ways to
    make them differ this is independent initialisation (PTA-I): heads are drawn from a stream
    of their own by task name. Not built: frozen and perturbed decoders and those with dropout,
    which change heads while they train; a recipe has targets only. The paper takes the decoder that
    is best on validation; here the task's own head is judged.

    The copies together weigh as much as the task so many times: an architecture without parts
    between the shared ones and the heads sees a larger weight of this task, and heads that are
    one linear layer each soon agree; `head_hidden` keeps them apart for longer.

    Args:
        of: the task to copy; the only main task when left out.
        copies: how many beside the task itself, at least 1.

    """

    paper = "Meyerson 2018"
    makes = "a task once more, with a head of its own"

    def __init__(self, of: str | None = None, copies: int = 2) -> None:
        if copies < 1:
            raise UserError(f"pseudo_tasks: copies should be at least 1, found {copies}.")
        self.of = of
        self.copies = copies

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """The copies: `{of}_pseudo_1`, `{of}_pseudo_2`, ..."""
        task = dataset.tasks[self._source(dataset)]
        return tuple(
            replace(task, name=f"{task.name}_pseudo_{i + 1}", role="auxiliary")
            for i in range(self.copies)
        )

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """The labels of the task. `train` and `seed` play no part."""
        labels = dataset.targets[self._source(dataset)]
        return Addition({task.name: labels.copy() for task in self.tasks(dataset)})

    def _source(self, dataset: Dataset) -> str:
        """The task to copy. Raises `UserError` when it is not clear or not there."""
        if self.of is not None:
            if self.of not in dataset.tasks:
                raise unknown("task for pseudo_tasks:", self.of, dataset.tasks)
            return self.of
        main = [name for name, task in dataset.tasks.items() if task.role == "main"]
        if len(main) != 1:
            raise UserError(
                f"pseudo_tasks: expected of=NAME of a task, found {len(main)} main tasks "
                f"({some(main, 80)}). Name one."
            )
        return main[0]
