"""Which of the present tasks is the main one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from polytask.errors import UserError, unknown
from polytask.optimization.state import NamedState


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
        state.table["main_seen", main] = torch.tensor(1)
        return list(tasks).index(main)
    if state.has("main_seen", main):
        return None
    error = unknown("main task", main, tasks)
    raise UserError(f"{str(error).rstrip('.')}; the first step of training must have its loss.")
