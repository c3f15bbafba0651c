"""Scores of a model over batches, and the reference scores that gains are measured from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError, some
from polytask.metrics import Undefined
from polytask.tasks import Task
from polytask.training._forward import Forward, batches_on, parts_of
from polytask.training._rules import Score, finite


@dataclass(frozen=True)
class Scored:
    """The result of scoring: metrics by task and name, and the mean loss by task."""

    metrics: dict[str, dict[str, Score]]
    losses: dict[str, Score]

    def flat(self, prefix: str) -> dict[str, Score]:
        """`{"val/depth/loss": value, "val/depth/rmse": value, ...}`"""
        out = {f"{prefix}/{task}/loss": loss for task, loss in self.losses.items()}
        for task, row in self.metrics.items():
            out |= {f"{prefix}/{task}/{metric}": value for metric, value in row.items()}
        return out


class Mean:
    """The mean of values that stand for different numbers of items."""

    def __init__(self, total: float = 0.0, count: int = 0) -> None:
        self.total = total
        self.count = count

    def add(self, value: float, count: int = 1) -> None:
        """Add a mean over `count` items; with no item, nothing."""
        if count:
            self.total += value * count
            self.count += count

    def result(self) -> Score:
        """The mean, or undefined when nothing was added."""
        return self.total / self.count if self.count else Undefined("no labelled item")


def score(forward: Forward, batches: Iterable[Any], device: torch.device) -> Scored:
    """Every metric of every task, and its mean loss, streamed over the batches.

    The model runs in evaluation mode and is put back as it was. Metrics are computed on the
    CPU, in original units; memory is what the metrics themselves hold on to.
    """
    tasks = forward.tasks
    meters = {
        name: {metric.name: metric.fresh(task) for metric in task.all_metrics}
        for name, task in tasks.items()
    }
    losses = {name: Mean() for name in tasks}
    training = forward.model.training
    forward.model.eval()
    try:
        with torch.no_grad():
            for batch in batches_on(batches, device):
                for inputs, targets in parts_of(*batch):
                    outputs, _ = forward(inputs, without=forward.absent(targets))
                    for name in filter(targets.__contains__, tasks):
                        value, count = tasks[name].loss(outputs[name], targets[name])
                        losses[name].add(float(value), int(count))
                        output, target = outputs[name].cpu(), targets[name].cpu()
                        for meter in meters[name].values():
                            meter.update(output, target)
    finally:
        forward.model.train(training)
    return Scored(
        {
            name: {metric: finite(meter.compute()) for metric, meter in row.items()}
            for name, row in meters.items()
        },
        {name: finite(mean.result()) for name, mean in losses.items()},
    )


def reference_scores(
    tasks: Mapping[str, Task],
    given: Mapping[str, float],
    train: Iterable[Any],
    val: Iterable[Any],
) -> dict[str, Score]:
    """The score every task's gain is measured from, on the validation data.

    A task in `given` keeps that score (single-task validation scores, usually); any other one
    gets the score of the best constant prediction learned from the training labels. For those
    the targets are read once from both; in-memory batches give them without a pass.
    """
    missing = {name: task for name, task in tasks.items() if name not in given}
    scores: dict[str, Score] = {name: given[name] for name in tasks if name in given}
    if missing:
        before, after = all_targets(train, missing), all_targets(val, missing)
        if absent := [name for name in missing if name not in before]:
            raise UserError(
                f"no training batch has a target named {some(map(repr, absent), 80)}; expected one "
                "for every task. Name the targets as the tasks, or leave such a task out."
            )
        for name, task in missing.items():
            if name in after:
                scores[name] = finite(task.trivial(before[name], after[name]))
            else:
                scores[name] = Undefined("the validation data has no target of this name")
    return {name: scores[name] for name in tasks}


def all_targets(batches: Iterable[Any], names: Iterable[str]) -> dict[str, Tensor]:
    """The targets of all rows, on the CPU, by task; tasks that no batch holds are left out."""
    whole = getattr(batches, "targets", None)
    if isinstance(whole, Mapping):
        return {name: whole[name].cpu() for name in names if name in whole}
    wanted = list(names)
    parts: dict[str, list[Tensor]] = {}
    for _, targets in batches_on(batches, torch.device("cpu")):
        for name in wanted:
            if name in targets:
                parts.setdefault(name, []).append(targets[name])
    return {name: torch.cat(part) for name, part in parts.items()}


def check_repeatable(batches: Any, which: str) -> None:
    """Raise `UserError` for what is no collection of batches, or one that is used up once."""
    if not isinstance(batches, Iterable):
        raise UserError(
            f"the {which} batches must be iterable, found {type(batches).__name__}. "
            "Give polytask.data.Batches, a DataLoader or a list of (inputs, targets)."
        )
    if iter(batches) is batches:
        raise UserError(
            f"the {which} batches are an iterator, which is empty after one epoch. "
            "Give something that can be iterated again, such as a list or a DataLoader."
        )
