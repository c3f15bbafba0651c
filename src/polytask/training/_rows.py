"""Rows of batches: how many there are, and batches of some of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from polytask.data import Batches
from polytask.errors import UserError
from polytask.tasks import Task

JUDGING_ROWS = 4096
"""Most rows a batch when nothing is learned: evaluation is bound by overhead."""
JUDGING_VALUES = 2**24
"""Most numbers that a network answers for one such batch: maps would fill the memory."""


def count_rows(targets: Mapping[str, Tensor]) -> int:
    """Rows of a batch, by its targets."""
    return max((len(target) for target in targets.values()), default=0)


def judging_rows(tasks: Mapping[str, Task], least: int = 1) -> int:
    """Rows a batch when nothing is learned: many, fewer where tasks answer at every place.

    Never fewer than `least`: the rows of a training step, which needs more memory.
    """
    values = sum(task.output_size * math.prod(task.places) for task in tasks.values())
    return max(least, min(JUDGING_ROWS, JUDGING_VALUES // max(values, 1)))


def rows_drawn_from(batches: Any) -> int | None:
    """How many rows an epoch draws from; None where neither the batches nor a data set tell."""
    if isinstance(batches, Batches):
        return batches.n
    if isinstance(batches, DataLoader) and isinstance(batches.dataset, Sized):
        return len(batches.dataset)
    return None


def cut_rows(batch: Any, rows: Tensor, count: int) -> Any:
    """Some rows of a batch of `count` rows, whatever dictionaries and lists its tensors lie in.

    Raises `UserError` for anything that cannot be cut by rows.
    """
    if isinstance(batch, Tensor) and batch.dim() and len(batch) == count:
        return batch.index_select(0, rows.to(batch.device))
    if isinstance(batch, Mapping):
        return {name: cut_rows(value, rows, count) for name, value in batch.items()}
    if isinstance(batch, list | tuple) and not hasattr(batch, "_fields"):
        return type(batch)(cut_rows(value, rows, count) for value in batch)
    single = isinstance(batch, Tensor) and not batch.dim()
    if batch is None or isinstance(batch, bool | int | float) or single:
        return batch
    what = f"shape {tuple(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__
    raise UserError(f"a batch of {count} rows cannot be cut: it holds {what}")
