"""The base class of every schedule: one method to write, `probabilities`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

PLAIN = (str, bool, int, float, type(None), tuple, list, dict)


class Schedule:
    """Says with which probability each task is trained on in a step, or their very order.

    A subclass implements `probabilities`, or `order` as well where the order itself is the point.
    It draws nothing: whoever draws does so by numbers that are a function of the seed, the epoch
    and the position in it, so every process and every resumed training draws the same. What is
    learned on the way is kept by task name in `memory`, as lists of numbers, and travels in
    `state_dict`; tasks may come and go.

    What is drawn is called a task here, and mostly is one. A data set that serves several tasks is
    drawn as a whole, under a name of its own; `group` says which tasks it stands for, and what
    is observed of them is averaged.

    Attributes:
        needs: what it must be told through `observe`, any of "scores", "losses" and "gramian".
            Until then it treats all tasks alike.
        one_task: whether a step can have one task only, as the order is of single tasks.
        paper: the source, for lists.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    one_task: ClassVar[bool] = False
    paper: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.memory: dict[str, dict[str, list[float]]] = {}
        self._references: dict[str, float] = {}
        self._members: dict[str, tuple[str, ...]] = {}

    def probabilities(
        self,
        tasks: Sequence[str],
        sizes: Mapping[str, int | None],
        epoch: int = 1,
        epochs: int | None = None,
    ) -> Tensor:
        """The probability of each task in the next step, float64 [T], with sum 1.

        Args:
            tasks: those that may be drawn, at least one; paused ones are not among them.
            sizes: rows of each task's data; None where nobody knows.
            epoch: the running epoch, counted from 1.
            epochs: how many there will be; None where nobody knows.

        Raises:
            UserError: something is missing that the schedule goes by, or all weights are 0.
        """
        raise NotImplementedError

    def order(
        self,
        tasks: Sequence[str],
        batches: Mapping[str, int | None],
        steps: int,
        epoch: int,
        seed: int,
    ) -> list[int] | None:
        """The places in `tasks` that the draws of an epoch take in turn, or None.

        `steps` of them; with several tasks a step, so many times more. None: every draw is random,
        by `probabilities`. `batches` is how many batches one pass over each task's data has; None
        where nobody knows. Raises `UserError` when a schedule needs to.
        """
        return None

    def rates(self, tasks: Sequence[str]) -> Tensor:
        """What to multiply the learning rate with in a step on each task, float64 [T]."""
        return torch.ones(len(tasks), dtype=torch.float64)

    def drawn(self, task: str) -> None:
        """Told after every draw; schedules that count draws use it."""

    def observe(
        self,
        *,
        scores: Mapping[str, float] | None = None,
        losses: Mapping[str, float] | None = None,
        gramian: tuple[Sequence[str], Tensor] | None = None,
        epoch: int | None = None,
    ) -> None:
        """Told how training goes; adaptive schedules use it.

        Args:
            scores: validation scores by task, turned so that higher is better: an error is given
                as its negative. At the end of an epoch.
            losses: mean training losses by task. At the end of an epoch.
            gramian: the tasks of a step and the inner products of their gradients, [T, T].
                After every step that measured them.
            epoch: the epoch that has ended.
        """

    def refer(self, scores: Mapping[str, float]) -> None:
        """Told the scores of single-task training, as the metric gives them, where there are any.

        They are the targets of schedules that measure from one and were given none.
        """
        self._references = dict(scores)

    def group(self, members: Mapping[str, Sequence[str]]) -> None:
        """Told which tasks each name that is drawn stands for; by default itself."""
        self._members = {name: tuple(tasks) for name, tasks in members.items()}

    def members(self, name: str) -> tuple[str, ...]:
        """The tasks that a name that is drawn stands for."""
        return self._members.get(name, (name,))

    def settings(self) -> dict[str, Any]:
        """Its name and arguments, as plain values."""
        words = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "memory"}
        plain = {k: v for k, v in words.items() if isinstance(v, PLAIN)}
        return {"schedule": type(self).__qualname__, **plain}

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, as plain values."""
        return copy.deepcopy(self.memory)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.memory = {
            entry: {task: list(values) for task, values in known.items()}
            for entry, known in state.items()
        }

    def reset(self) -> None:
        """Forget everything learned."""
        self.memory.clear()

    def recall(self, entry: str, task: str, default: float) -> float:
        """The newest number of an entry of a task."""
        known = self.memory.get(entry, {}).get(task)
        return known[-1] if known else default

    def remember(self, entry: str, task: str, value: float, window: int = 1) -> None:
        """Add a number to an entry of a task; the newest `window` are kept."""
        known = self.memory.setdefault(entry, {}).setdefault(task, [])
        known.append(float(value))
        del known[:-window]
