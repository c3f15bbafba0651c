"""What schedules have in common that go by validation scores and where they should be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.scheduling._base import Schedule
from polytask.optimization.scheduling._check import by_task, whole


class Scored(Schedule):
    """Keeps the newest scores of every task and compares them with its target.

    Scores come turned so that higher is better, an error as its negative. A target is the plain
    value of the metric, so it takes the sign of the score that it is compared with.

    Args:
        targets: what each task should reach, by task. Tasks that are not named take the scores of
            single-task training that `refer` told of.
        window: how many of the newest scores are averaged.
    """

    needs: ClassVar[tuple[str, ...]] = ("scores",)

    def __init__(self, targets: Mapping[str, float] | None, window: int) -> None:
        super().__init__()
        self.targets = by_task("targets", targets)
        self.window = whole("window", window, 1)

    @property
    def who(self) -> str:
        """The name that errors call it by."""
        return type(self).__name__

    def observe(
        self,
        *,
        scores: Mapping[str, float] | None = None,
        losses: Mapping[str, float] | None = None,
        gramian: tuple[Sequence[str], Tensor] | None = None,
        epoch: int | None = None,
    ) -> None:
        """Keep the scores. Raises `UserError` for a task without a target."""
        for task, score in (scores or {}).items():
            self.target(task, score)
            self.remember("score", task, score, self.window)

    def score(self, task: str) -> float | None:
        """The mean of the newest scores of a task; None before the first."""
        known = self.memory.get("score", {}).get(task)
        return sum(known) / len(known) if known else None

    def target(self, task: str, score: float) -> float:
        """What `score` of a task is compared with. Raises `UserError` when nothing was said."""
        found = self.targets.get(task, self._references.get(task))
        if found is None:
            raise UserError(
                f"schedule {self.who} compares scores with targets, and {task!r} has none. Say "
                f"targets={{{task!r}: ...}}, or give the Trainer the scores of single-task "
                "training as reference=."
            )
        if found == 0:
            raise UserError(
                f"schedule {self.who} compares scores with targets by their ratio, and that of "
                f"{task!r} is 0. Say another one in targets=."
            )
        return math.copysign(found, score)

    def missing(self, name: str) -> float:
        """(target - score) / |target|: the share of the target that is missing; 0 before a score.

        Below 0 for a task beyond its target. 1 is a score of nothing, or an error twice as large as
        the target. The mean over the tasks that a name stands for.
        """
        members = self.members(name)
        return sum(self._missing_of(task) for task in members) / len(members)

    def reached(self, name: str) -> float | None:
        """Score / target, for errors target / score, so that 1 is reached and less is not.

        The mean over the tasks that a name stands for; None before the first score.
        """
        found = [self._reached_by(task) for task in self.members(name)]
        known = [share for share in found if share is not None]
        return sum(known) / len(known) if known else None

    def _missing_of(self, task: str) -> float:
        score = self.score(task)
        if score is None:
            return 0.0
        target = self.target(task, score)
        return (target - score) / abs(target)

    def _reached_by(self, task: str) -> float | None:
        score = self.score(task)
        if score is None:
            return None
        target = self.target(task, score)
        if target > 0:
            return score / target
        return target / score if score else math.inf
