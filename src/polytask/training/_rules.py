"""What a selection rule is, and the rules that value each epoch by itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.tasks import Task

Score = float | Undefined
FLOOR = 0.1
"""The least denominator of a relative gain for a metric to be maximised; see `relative_gain`."""


@dataclass(frozen=True)
class Scores:
    """The validation result of one epoch, by task: primary metric and mean loss."""

    epoch: int
    primary: Mapping[str, Score]
    losses: Mapping[str, Score]


class Rule(ABC):
    """A way to compare epochs. `column` says which scores it reads ("primary" or "losses")."""

    column = "primary"

    def __init__(self, word: str, tasks: Sequence[Task]) -> None:
        self.word = word
        self.tasks = tuple(tasks)

    @abstractmethod
    def values(self, epochs: Sequence[Scores]) -> list[Score]:
        """The value of every epoch given all of them, higher is better."""

    def best(self, epochs: Sequence[Scores]) -> int | None:
        """The epoch that wins among `epochs`; None when no value is defined."""
        winner, highest = None, -math.inf
        for scores, value in zip(epochs, self.values(epochs), strict=True):
            if not isinstance(value, Undefined) and value > highest:
                winner, highest = scores.epoch, value
        return winner

    def alive(self, epochs: Sequence[Scores]) -> set[int]:
        """Epochs that could still win once further epochs are added: here only the leader."""
        best = self.best(epochs)
        return set() if best is None else {best}

    def remarks(self, scores: Scores) -> list[str]:
        """What this rule leaves out at an epoch, and why."""
        read = self._read(scores)
        return [
            f"{name}: {self._called(name)} is undefined on the validation data ({score.reason}); "
            f"left out of the choice by {self.word!r}."
            for name, score in read.items()
            if isinstance(score, Undefined)
        ]

    def nothing(self, scores: Scores) -> UserError:
        """The error for an epoch at which nothing is defined."""
        reasons = "; ".join(
            f"{name}: {score.reason}"
            for name, score in self._read(scores).items()
            if isinstance(score, Undefined)
        )
        return UserError(
            f"the rule {self.word!r} has nothing to choose by: no validation score is defined at "
            f"epoch {scores.epoch} ({reasons}). Give validation data with labels of these tasks, "
            "or choose another rule with select=."
        )

    def _read(self, scores: Scores) -> dict[str, Score]:
        """The scores this rule reads, by task; numbers that are not finite are undefined."""
        column: Mapping[str, Score] = getattr(scores, self.column)
        return {task.name: finite(column[task.name]) for task in self.tasks}

    def _called(self, name: str) -> str:
        if self.column == "losses":
            return "the loss"
        return next(task.primary.name for task in self.tasks if task.name == name)


class Newest(Rule):
    """Without validation data there is nothing to choose by: the newest epoch is taken."""

    def __init__(self) -> None:
        super().__init__("newest", [])

    def values(self, epochs: Sequence[Scores]) -> list[Score]:
        """The epoch itself: the newest is the highest."""
        return [float(scores.epoch) for scores in epochs]


class MeanGain(Rule):
    """Mean over the main tasks of the relative gain of the primary metric over `reference`.

    Raises `UserError` when no task has a defined reference.
    """

    def __init__(self, tasks: Sequence[Task], reference: Mapping[str, Score]) -> None:
        super().__init__("mean_gain", tasks)
        self.reference = {task.name: finite(reference[task.name]) for task in tasks}
        if all(isinstance(score, Undefined) for score in self.reference.values()):
            raise UserError(
                "the rule 'mean_gain' has nothing to choose by: no reference score is defined ("
                + "; ".join(f"{name}: {score}" for name, score in self.reference.items())
                + "). Give validation data with labels of these tasks, reference= scores, or "
                "another rule with select=."
            )

    def values(self, epochs: Sequence[Scores]) -> list[Score]:
        """The mean gain of every epoch, as a fraction (0.1 is 10 %)."""
        return [self._value(scores) for scores in epochs]

    def _read(self, scores: Scores) -> dict[str, Score]:
        read = super()._read(scores)
        for name, reference in self.reference.items():
            if isinstance(reference, Undefined):
                read[name] = Undefined(f"no reference score: {reference.reason}")
        return read

    def _value(self, scores: Scores) -> Score:
        read = self._read(scores)
        gains = []
        for task in self.tasks:
            score, reference = read[task.name], self.reference[task.name]
            if not isinstance(score, Undefined) and not isinstance(reference, Undefined):
                gains.append(relative_gain(score, reference, task.primary.direction))
        return sum(gains) / len(gains) if gains else Undefined("no task has a defined gain")


class MainTask(Rule):
    """The primary metric of one task, turned so that higher is better."""

    def __init__(self, task: Task) -> None:
        super().__init__(f"main:{task.name}", [task])

    def values(self, epochs: Sequence[Scores]) -> list[Score]:
        """The metric of every epoch, negated when lower is better."""
        (task,) = self.tasks
        return [oriented(self._read(scores)[task.name], task) for scores in epochs]


class TotalLoss(Rule):
    """Minus the sum over the main tasks of the mean validation losses."""

    column = "losses"

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__("loss", tasks)

    def values(self, epochs: Sequence[Scores]) -> list[Score]:
        """Minus the summed losses of every epoch."""
        return [self._value(scores) for scores in epochs]

    def _value(self, scores: Scores) -> Score:
        losses = [v for v in self._read(scores).values() if not isinstance(v, Undefined)]
        return -sum(losses) if losses else Undefined("no task has a defined loss")


class Preferred(Rule):
    """Losses times the weights of a preference, added up or the largest of them (negated).

    Only the tasks of `weights` count, auxiliary ones too. Losses are those of `Task.loss`, as a
    method sees them in training, without any scaling by their values.
    """

    column = "losses"

    def __init__(self, word: str, tasks: Sequence[Task], weights: Mapping[str, float]) -> None:
        super().__init__(word, tasks)
        self.weights = {task.name: float(weights[task.name]) for task in tasks}
        self._together: Callable[[Iterable[float]], float] = TOGETHER[word]

    def values(self, epochs: Sequence[Scores]) -> list[Score]:
        """Minus the weighted losses of every epoch, together."""
        return [self._value(scores) for scores in epochs]

    def _value(self, scores: Scores) -> Score:
        losses = [
            self.weights[name] * loss
            for name, loss in self._read(scores).items()
            if not isinstance(loss, Undefined)
        ]
        return -self._together(losses) if losses else Undefined("no task has a defined loss")


TOGETHER: dict[str, Callable[[Iterable[float]], float]] = {"weighted_loss": sum, "worst_loss": max}
"""How weighted losses become one number, by the word of the rule."""


def relative_gain(score: float, reference: float, direction: str) -> float:
    """How much better `score` is than `reference`, as a fraction of it; positive is better.

    The denominator is |reference|, guarded: for a metric to be maximised (the library's lie
    between 0 and 1) it is at least 0.1, so that a reference near 0 cannot make one task
    outweigh all others; for one to be minimised, a reference of exactly 0 gives the plain
    difference.
    """
    sign = 1.0 if direction == "max" else -1.0
    size = abs(reference)
    denominator = max(size, FLOOR) if direction == "max" else (size or 1.0)
    return sign * (score - reference) / denominator


def oriented(score: Score, task: Task) -> Score:
    """A primary score turned so that higher is better."""
    if isinstance(score, Undefined):
        return score
    return score if task.primary.direction == "max" else -score


def finite(score: Score) -> Score:
    """A score that is a finite number, or undefined."""
    if isinstance(score, Undefined) or math.isfinite(score):
        return score if isinstance(score, Undefined) else float(score)
    return Undefined(f"the value is {score}")
