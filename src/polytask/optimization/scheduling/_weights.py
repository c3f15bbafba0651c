"""From weights to probabilities, and from numbers of batches to those of an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError


def normalised(who: str, tasks: Sequence[str], weights: Sequence[float] | Tensor) -> Tensor:
    """The weights divided by their sum, float64 [T].

    Raises `UserError` when there is no task, a weight is negative or not finite, or all are 0.
    """
    if not tasks:
        raise UserError(f"schedule {who}: there is no task to draw; expected at least one.")
    values = torch.as_tensor(weights, dtype=torch.float64)
    for task, value in zip(tasks, values.tolist(), strict=True):
        if not math.isfinite(value) or value < 0:
            raise UserError(
                f"schedule {who}: the weight of {task!r} is {value:g}; expected a finite number of "
                "at least 0. Correct the weights, or the expression they come from."
            )
    total = values.sum()
    if not total > 0:
        raise UserError(
            f"schedule {who}: the weights of {', '.join(tasks)} are all 0, so nothing can be "
            "drawn; expected one above 0."
        )
    return values / total


def known_sizes(who: str, tasks: Sequence[str], sizes: Mapping[str, int | None]) -> Tensor:
    """Rows by task, float64 [T]. Raises `UserError` when one is unknown or below 1."""
    found = []
    for task in tasks:
        size = sizes.get(task)
        if size is None:
            raise UserError(
                f"schedule {who} goes by the number of rows, and that of {task!r} is not known. "
                "Say it (sizes={" + f"{task!r}: ...}}), or use a schedule such as 'uniform'."
            )
        if size < 1:
            raise UserError(f"schedule {who}: {task!r} has {size} rows; expected at least 1.")
        found.append(float(size))
    return torch.tensor(found, dtype=torch.float64)


def known_batches(who: str, tasks: Sequence[str], batches: Mapping[str, int | None]) -> list[int]:
    """Batches of one pass by task. Raises `UserError` when one is unknown."""
    found = []
    for task in tasks:
        count = batches.get(task)
        if count is None:
            raise UserError(
                f"schedule {who} takes all batches of every task, and nobody knows how many "
                f"{task!r} has. Use data of a known length, or a schedule such as 'uniform'."
            )
        found.append(count)
    return found


def power(who: str, tasks: Sequence[str], sizes: Tensor, alpha: float) -> Tensor:
    """p_i = N_i^alpha / sum N^alpha; sizes are divided by the largest, so nothing overflows."""
    return normalised(who, tasks, (sizes / sizes.max()) ** alpha if tasks else sizes)


def batches_of_epoch(batches: Sequence[int], steps: int, epoch: int) -> list[int]:
    """How many of an epoch's `steps` each task takes, where all batches of all tasks are wanted.

    The batches of one pass lie evenly spread, batch k of a task with n of them at (k + 1/2) / n,
    and epochs walk through one pass after the other. So every epoch has nearly the shares of a
    pass, whole passes have them exactly, and a task that is too small to come in every short epoch
    comes in its turn.

    >>> [batches_of_epoch([6, 1], 3, epoch) for epoch in (1, 2, 3)]
    [[3, 0], [2, 1], [3, 0]]
    """
    places = np.concatenate([(np.arange(n) + 0.5) / n for n in batches])
    spread = np.repeat(np.arange(len(batches)), batches)[np.argsort(places, kind="stable")]

    def until(step: int) -> np.ndarray:
        passes, rest = divmod(step, len(spread))
        return passes * np.asarray(batches) + np.bincount(spread[:rest], minlength=len(batches))

    begin = max(epoch - 1, 0) * steps
    found: list[int] = (until(begin + steps) - until(begin)).tolist()
    return found
