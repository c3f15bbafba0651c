"""What methods around a main task share: which row is its, and what needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from polytask.errors import UserError, unknown
from polytask.kernel.graph import Ownership
from polytask.kernel.groups import sharing_groups
from polytask.kernel.measure import Discovery
from polytask.kernel.problem import Losses, Problem, pose
from polytask.kernel.step import Step
from polytask.optimization.base import Balancer
from polytask.optimization.state import NamedState


class MainTask(Balancer):
    """A balancer with one main task; all other tasks are its helpers.

    Before the first step with each set of present tasks it is checked that every helper shares a
    parameter with the main task: without one its gradient says nothing about the main task, and
    no weight of it can help.

    Args:
        main: the main task's name, or its row; the first task by default.
        options: those of every `Balancer`.
    """

    steps_without_main: bool = True
    """Whether the method says what a step without the main task is. A training leaves such a
    batch out, and counts it, where it does not. An instance may set it."""

    def __init__(self, main: str | int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.main = main

    def row(self, tasks: Sequence[str]) -> int | None:
        """Row of the main task among the present ones; None when it is absent."""
        return main_row(self.main, tasks, self)

    def apart(self, tasks: Sequence[str]) -> tuple[int | None, list[int], list[str]]:
        """Row of the main task, None when it is absent; rows and names of its helpers."""
        row = self.row(tasks)
        at = [i for i in range(len(tasks)) if i != row]
        return row, at, [tasks[i] for i in at]

    @property
    def required(self) -> str | None:
        """Name of the task without which a batch is left out of a training; None for none."""
        return self.main if isinstance(self.main, str) and not self.steps_without_main else None

    def backward(
        self,
        losses: Losses | Sequence[Losses],
        *,
        counts: Mapping[str, int] | None = None,
        **given: Any,
    ) -> Step:
        """As `Balancer.backward`. Also raises `UserError` for a helper that shares nothing."""
        problem = _posed(losses, counts)
        if problem is not None:
            row = [self.main] if isinstance(self.main, str) else problem.tasks[self.main :][:1]
            check_shared(problem, row, self.discovery)
        return super().backward(losses, counts=counts, **given)


def main_row(main: str | int, tasks: Sequence[str], state: NamedState) -> int | None:
    """Row of the main task among the present ones; None when it is absent from this step.

    Args:
        main: its name, or its row among the tasks of each step.
        tasks: the present tasks.
        state: the balancer; it remembers that a main task of this name exists.

    Raises:
        UserError: no such row, or a name that no step has had so far.
    """
    if isinstance(main, int):
        if not 0 <= main < len(tasks):
            raise UserError(
                f"main={main} is not a row of the {len(tasks)} present tasks "
                f"({', '.join(tasks)}); name the main task when tasks can be absent."
            )
        return main
    if main in tasks:
        confirm_main(main, state)
        return list(tasks).index(main)
    if state.has("main_seen", main):
        return None
    error = unknown("main task", main, tasks)
    raise UserError(f"{str(error).rstrip('.')}; the first step of training must have its loss.")


def confirm_main(main: str, state: NamedState) -> None:
    """Remember that there is a main task of this name, though a step may be without it."""
    state.table["main_seen", main] = torch.tensor(1)


def check_shared(problem: Problem, main: Sequence[str], discovery: Discovery) -> None:
    """Raise `UserError` when a helper has no parameter in common with any main task.

    The graph is walked once for each set of present tasks; what it shows is kept in `discovery`.
    Where no two tasks share anything, or the graph hides parameters, the measurement says so.
    """
    present = {task for task in main if task in problem.tasks}
    if not present or len(present) == len(problem):
        return
    groups = [set(tasks) for tasks in discovery.groups(problem, sharing_groups)]
    near = present.union(*(tasks for tasks in groups if tasks & present))
    apart = [task for task in problem.tasks if task not in near]
    if not apart or max(map(len, groups), default=0) < 2 or _is_opaque(problem):
        return
    raise UserError(
        f"{', '.join(map(repr, apart))} shares no parameter that requires a gradient with the "
        f"main task ({', '.join(sorted(present))}), so no weight makes it help or harm the main "
        "task. Leave it out, let it use a part of the network that the main task uses, or use a "
        "method without a main task."
    )


def _is_opaque(problem: Problem) -> bool:
    """Whether a node of the graph hides parameters, which may be the shared ones."""
    try:
        Ownership(problem.losses).refuse_opaque(None)
    except UserError:
        return True
    return False


def _posed(losses: Losses | Sequence[Losses], counts: Mapping[str, int] | None) -> Problem | None:
    """The present tasks of the batch that is stepped on.

    None where they cannot be posed, which the step itself says in full.
    """
    last = losses[-1] if isinstance(losses, list | tuple) and losses else losses
    try:
        return pose(last, counts) if isinstance(last, Mapping) else None
    except UserError:
        return None
