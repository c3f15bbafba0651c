"""Every metric of every task at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from polytask.metrics import Undefined
from polytask.tasks._task import Task


def evaluate(
    tasks: Mapping[str, Task] | Iterable[Task],
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
) -> dict[str, dict[str, float | Undefined]]:
    """`{task: {metric: score}}` on one set of outputs and encoded targets.

    A task without an output or a target here is undefined in every metric. Names that belong to
    no task are left alone. Raises what `Accumulator.update` raises.
    """
    scores: dict[str, dict[str, float | Undefined]] = {}
    for task in tasks.values() if isinstance(tasks, Mapping) else tasks:
        scores[task.name] = {}
        for metric in task.all_metrics:
            accumulator = metric.fresh(task)
            if task.name in outputs and task.name in targets:
                accumulator.update(outputs[task.name], targets[task.name])
            scores[task.name][metric.name] = accumulator.compute()
    return scores
