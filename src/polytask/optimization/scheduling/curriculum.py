"""Tasks in an order of learning, or by formulas of the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.errors import UserError, unknown
from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._expression import Expression
from polytask.optimization.scheduling._weights import normalised

NAMES = ("epoch", "epochs", "size")


class Curriculum(Schedule):
    """Tasks join one after another, or are drawn by formulas of the epoch.

    With `order`, the epochs are cut into as many stages of equal length as there are tasks, and in
    stage s the first s tasks are drawn, all alike (or the s-th alone, with keep=False): easy ones
    first (Pentina, Sharmanska and Lampert 2015, https://arxiv.org/abs/1412.1353, choose such an
    order by a bound), or hard ones first as in decaNLP's anti-curriculum (McCann et al. 2018,
    https://arxiv.org/abs/1806.08730). How the order was found is left to the caller.

    With `weights`, every task has a number or a formula of `epoch` (from 1), `epochs` and `size`
    (its rows), and p is in proportion to their values: `{pos: 1, ner: "min(1, epoch / 5)"}`.
    Formulas are arithmetic: + - * / // % **, comparisons (1 where true), `a if b else c`, min, max,
    abs, exp, log, sqrt, floor. Tasks that are not named weigh 1. A task of weight 0, or whose stage
    has not come, is never drawn.

    Args:
        order: task names; tasks that are not named are there from the beginning.
        weights: a number or a formula by task.
        keep: whether earlier tasks stay when the next one joins.

    Raises:
        UserError: neither or both of order and weights, or a formula that cannot be read; in use, a
            task that does not exist, an unknown number of epochs, or weights that are all 0.

    >>> c = Curriculum(order=["easy", "hard"])
    >>> c.probabilities(["hard", "easy"], {}, epoch=1, epochs=4).tolist()
    [0.0, 1.0]
    >>> c.probabilities(["hard", "easy"], {}, epoch=3, epochs=4).tolist()
    [0.5, 0.5]
    """

    paper = "Pentina et al. 2015"

    def __init__(
        self,
        order: Sequence[str] | None = None,
        weights: Mapping[str, str | float] | None = None,
        keep: bool = True,
    ) -> None:
        super().__init__()
        if (order is None) == (weights is None):
            raise UserError(
                "schedule curriculum takes order (a list of tasks) or weights (a number or formula "
                f"by task), found {'neither' if order is None else 'both'}. Give one of them."
            )
        if isinstance(order, str):
            raise UserError(f"order of schedule curriculum is a list of tasks, found {order!r}.")
        self.stages = None if order is None else [str(task) for task in order]
        if self.stages is not None and len(set(self.stages)) < max(len(self.stages), 1):
            raise UserError(
                f"order of schedule curriculum names each task once, found {self.stages}."
            )
        self.keep = keep
        self.weights = {str(task): str(text) for task, text in dict(weights or {}).items()}
        self._formulas = {task: Expression(text, NAMES) for task, text in self.weights.items()}

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """By the stage of the epoch, or by the formulas."""
        for task in [*(self.stages or ()), *self._formulas]:
            if sizes and task not in sizes:
                raise unknown("task in schedule curriculum:", task, sizes)
        if self.stages is None:
            values = [self._value(task, sizes.get(task), epoch, epochs) for task in tasks]
        else:
            values = self._staged(tasks, self.stages, epoch, epochs)
        return normalised("curriculum", tasks, torch.tensor(values, dtype=torch.float64))

    def _staged(
        self, tasks: Sequence[str], stages: list[str], epoch: int, epochs: int | None
    ) -> list[float]:
        if epochs is None:
            raise UserError(
                "schedule curriculum cuts the epochs into stages and must know how many there are; "
                "found none. Say epochs=; the Trainer does it by itself."
            )
        stage = min(max(epoch - 1, 0) * len(stages) // max(epochs, 1), len(stages) - 1)
        now = stages[: stage + 1] if self.keep else stages[stage : stage + 1]
        values = [float(task in now or task not in stages) for task in tasks]
        # What should be learned now may be paused: then nothing is left but to go on with the rest.
        return values if any(values) else [1.0] * len(tasks)

    def _value(self, task: str, size: int | None, epoch: int, epochs: int | None) -> float:
        formula = self._formulas.get(task)
        if formula is None:
            return 1.0
        given = {"epoch": float(epoch)}
        for name, value in (("epochs", epochs), ("size", size)):
            if value is not None:
                given[name] = float(value)
            elif name in formula.text:
                raise UserError(
                    f"schedule curriculum: the formula {formula.text!r} of {task!r} needs {name}, "
                    "which is not known. Say it, or leave it out of the formula."
                )
        return formula(**given)
