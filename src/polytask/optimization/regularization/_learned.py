"""The base class of regularizers that learn from the weights on the way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.regularization._base import Regularizer, Stacks


class Learned(Regularizer):
    """A term with a state that is found anew from the weights every so many steps.

    A subclass makes its buffers in `prepare`, with tasks in the order of `self.tasks`, fills them
    in `update`, and drops rows in `keep`. Before `prepare` the term is what it starts as.

    Args:
        strength, prox: as of every regularizer.
        every: optimizer steps between two updates.

    Raises:
        UserError: as every regularizer; `every` that is no whole number above 0.

    """

    def __init__(self, strength: float = 1e-2, prox: bool = False, every: int = 100) -> None:
        super().__init__(strength, prox)
        if type(every) is not int or every < 1:
            raise UserError(f"every must be a whole number of steps above 0, found {every!r}.")
        self.every = every
        self.tasks: tuple[str, ...] = ()
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def prepare(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """Note the tasks; a subclass makes its buffers."""
        self.tasks = tuple(sorted(tasks))
        self.steps = self.steps.to(next(iter(stacks.values())).device)

    def due(self) -> bool:
        """Whether this step, which is counted, is one of every `every`."""
        self.steps += 1
        return int(self.steps) % self.every == 0

    def keep(self, tasks: Sequence[str]) -> None:
        """Forget all tasks but these; a subclass drops their rows."""
        self.tasks = tuple(task for task in self.tasks if task in tasks)

    def places(self, tasks: Sequence[str]) -> list[int]:
        """Where each of `tasks` stands in what is learned.

        Raises `UserError` for other tasks than the term was prepared for.
        """
        if sorted(tasks) != list(self.tasks):
            raise UserError(
                f"the term {self.name!r} was prepared for the tasks {', '.join(self.tasks)}, found "
                f"{', '.join(tasks)}. Prepare it for these, or keep() fewer."
            )
        return [self.tasks.index(task) for task in tasks]

    def order(self, tasks: Sequence[str]) -> list[int]:
        """Where each of the tasks known here stands in `tasks`: the inverse of `places`."""
        self.places(tasks)
        return [list(tasks).index(task) for task in self.tasks]
