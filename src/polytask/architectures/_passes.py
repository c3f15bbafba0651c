"""One pass of a shared encoder for every task, with something of the task's own on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor

from polytask.architectures._layout import Context
from polytask.architectures._represent import leave
from polytask.architectures.stages import Staged, begin, enter, run

Own = Callable[[str, int, Tensor, Context], Tensor]
"""What a task does to the features after a stage: `(task, stage, h, context) -> h`."""


def passes(
    encoder: Staged, x: Any, width: int, tasks: Collection[str], stages: Collection[int], own: Own
) -> tuple[dict[str, Tensor], Context, Tensor | None]:
    """Every task's representation, the context, and the features of them all, where those cut.

    `own` is called after each of `stages` (from 1). All up to the first of them is computed once,
    what follows once a task. The third answer is what the tasks part from, or None where shared
    parameters follow: then the tasks' gradients reach those by passes that never meet again.
    """
    first = min(stages)
    h, context = enter(encoder.entrance, begin(encoder, x))
    for number in range(1, first + 1):
        h = run(encoder.stages[number - 1], h, context)
    found = {}
    for task in tasks:
        mine = own(task, first, h, context)
        for number in range(first + 1, len(encoder.stages) + 1):
            mine = run(encoder.stages[number - 1], mine, context)
            if number in stages:
                mine = own(task, number, mine, context)
        found[task] = leave(encoder, mine, context, width)
    return found, context, None if _learns_after(encoder, first) else h


def _learns_after(encoder: Staged, stage: int) -> bool:
    """Whether anything trains behind a stage."""
    parts = [*list(encoder.stages)[stage:], encoder.exit]
    return any(p.requires_grad for part in parts for p in part.parameters())
