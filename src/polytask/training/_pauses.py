"""Which tasks are paused in a training, and by whom."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from polytask.errors import UserError, unknown
from polytask.optimization.base import Balancer
from polytask.optimization.main_task._main import MainTask
from polytask.tasks import Task


class Pauses:
    """The paused tasks of a trainer. Several may pause one task: it rests until all let it go."""

    def __init__(self, tasks: Mapping[str, Task], balancer: Balancer) -> None:
        self._known = dict(tasks)
        self._balancer = balancer
        self._held: dict[str, set[str]] = {}

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that anyone has paused."""
        return frozenset().union(*self._held.values())

    def add(self, tasks: Iterable[str], by: str) -> None:
        """Pause tasks. Raises `UserError` as `Trainer.pause` says; then nothing has changed."""
        self._held.setdefault(by, set()).update(self.check(tasks))

    def check(self, tasks: Iterable[str]) -> set[str]:
        """These tasks, if all of them may be paused at once. Raises `UserError` otherwise."""
        wanted = self._known_ones(tasks)
        self._check_left(wanted | self.tasks)
        for task in sorted(wanted):
            self._check_method(task)
        return wanted

    def remove(self, tasks: Iterable[str], by: str) -> None:
        """Let go of tasks, as far as `by` paused them. Raises `UserError` for an unknown one."""
        self._held.get(by, set()).difference_update(self._known_ones(tasks))

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Afterwards, however it ends, the same tasks are paused as before."""
        before = self.state_dict()
        try:
            yield
        finally:
            self.load_state_dict(before)

    def state_dict(self) -> dict[str, Any]:
        """Who paused what, as plain values."""
        return {by: sorted(tasks) for by, tasks in self._held.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state."""
        self._held = {by: set(tasks) for by, tasks in state.items()}

    def _known_ones(self, tasks: Iterable[str]) -> set[str]:
        wanted = list(tasks)
        for task in wanted:
            if task not in self._known:
                raise unknown("task to pause:", task, self._known)
        return set(wanted)

    def _check_left(self, paused: set[str]) -> None:
        """Raise `UserError` unless something is left to learn, of the main tasks above all."""
        main = {name for name, task in self._known.items() if task.role == "main"}
        if main and main <= paused:
            raise UserError(
                f"pausing {', '.join(sorted(paused))} would leave no main task in training; "
                f"expected at least one of {', '.join(sorted(main))}. Leave one active, or set "
                "trainer.should_stop to end the training."
            )
        if paused >= set(self._known):
            raise UserError(
                f"pausing {', '.join(sorted(paused))} would leave no task in training; expected "
                "at least one. Leave one active, or set trainer.should_stop to end the training."
            )

    def _check_method(self, task: str) -> None:
        """Raise `UserError` where the method would lose its main task, or take another for it."""
        if isinstance(self._balancer, MainTask) and self._balancer.required == task:
            raise UserError(
                f"{type(self._balancer).__name__} takes no step without its main task, so "
                f"{task!r} cannot be paused. Pause another one."
            )
        row = getattr(self._balancer, "main", None)
        if isinstance(row, int) and list(self._known).index(task) <= row:
            raise UserError(
                f"{type(self._balancer).__name__} takes the task in row {row} for the main one, "
                f"and without {task!r} the rows are others. Name it: main='NAME'."
            )
