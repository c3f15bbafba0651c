"""What a task learns from its training labels: scale, and the trivial prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.tasks._items import as_tensor, present

if TYPE_CHECKING:
    from polytask.tasks._task import Task


def fit(task: Task, train_target: np.ndarray | Tensor) -> Task:
    """See `Task.fitted`."""
    target = as_tensor(train_target)
    mask = present(task.kind, target)
    if (places := places_of(task, target)) != task.places:
        task = replace(task, places=places)
    if not bool(mask.any()):
        raise UserError(
            f"task {task.name!r}: none of its {len(target)} training targets has a label; "
            "drop the task, split the rows otherwise, or check how its missing values are read."
        )
    if task.kind == "custom":
        return task
    if task.kind == "regression":
        return _standardised(task, target, mask)
    columns = _columns(task, target)
    found = _checked(task, columns)
    if not any(column[present(task.kind, column)].unique().numel() > 1 for column in columns.T):
        if task.kind == "multilabel":
            raise UserError(
                f"task {task.name!r}: no label has both a 0 and a 1 among its training targets, "
                "so there is nothing to learn. Drop the task, or check how labels are separated."
            )
        raise UserError(
            f"task {task.name!r}: all {found.numel()} training labels are "
            f"{task.classes[int(found[0])]!r}; one class alone cannot be learned. Drop the task "
            "or split the data so that training sees another class."
        )
    return task


def places_of(task: Task, target: np.ndarray | Tensor) -> tuple[int, ...]:
    """Sizes of the axes behind the items (and the channels) of a target; a custom task's own."""
    if task.kind == "custom":
        return task.places
    channelled = task.output_size > 1 and task.kind in ("regression", "multilabel")
    lonely = task.output_size == 1 and target.ndim > 1 and target.shape[1] == 1
    return tuple(target.shape[2 if channelled or lonely else 1 :])


def _checked(task: Task, columns: Tensor) -> Tensor:
    """The labels that are there. Raises `UserError` for one that the task cannot have."""
    found = columns[present(task.kind, columns)]
    if task.kind == "regression":
        if bool(found.isinf().any()):
            raise UserError(
                f"task {task.name!r}: {int(found.isinf().sum())} targets are infinite; expected "
                "numbers. Encode such values as missing (NaN)."
            )
        return found
    count = 2 if task.kind == "multilabel" else len(task.classes)
    wrong = (found < 0) | (found >= count) | (found != found.round())
    if bool(wrong.any()):
        raise UserError(
            f"task {task.name!r} is {task.kind}: expected codes 0 to {count - 1} (or a missing "
            f"label), found {found[wrong][0].item():g}. Is it another kind of target, or are "
            "classes left out?"
        )
    return found


def _columns(task: Task, target: Tensor) -> Tensor:
    """Targets as float64 `[items, columns]`: one column per output or label."""
    width = task.output_size if task.kind in ("regression", "multilabel") else 1
    wide = target.double()
    if width == 1:
        return wide.reshape(-1, 1)
    if wide.ndim < 2 or wide.shape[1] != width:
        raise UserError(
            f"task {task.name!r}: expected targets of shape [N, {width}], found "
            f"{list(target.shape)}."
        )
    return wide.movedim(1, -1).reshape(-1, width)


def _standardised(task: Task, target: Tensor, mask: Tensor) -> Task:
    """The task with mean and standard deviation (of the population) per output."""
    means, stds = [], []
    columns = _columns(task, target)
    _checked(task, columns)
    for i, column in enumerate(columns.T):
        seen = column[~column.isnan()]
        which = f"output {i} of task {task.name!r}" if task.size > 1 else f"task {task.name!r}"
        if seen.numel() == 0:
            raise UserError(f"{which}: all {len(column)} training targets are missing.")
        std = seen.std(correction=0).item()
        if seen.min() == seen.max() or std <= 0:
            raise UserError(
                f"{which}: all {seen.numel()} training targets are {seen[0].item():g}; a constant "
                "cannot be learned. Drop the task, or check the column."
            )
        means.append(seen.mean().item())
        stds.append(std)
    if task.size == 1:
        return replace(task, mean=means[0], std=stds[0])
    return replace(task, mean=tuple(means), std=tuple(stds))


def trivial(
    task: Task, train_target: np.ndarray | Tensor, target: np.ndarray | Tensor
) -> float | Undefined:
    """See `Task.trivial`."""
    if task.kind == "custom":
        return Undefined("no constant prediction is known for a custom task")
    train, test = as_tensor(train_target), as_tensor(target)
    columns = _columns(task, train)
    for labels in (columns, _columns(task, test)):
        _checked(task, labels)
    constant = _regression(task, columns) if task.kind == "regression" else _prior(task, columns)
    if constant is None:
        return Undefined("no labelled training item")
    channelled = task.output_size > 1 and task.kind in ("regression", "multilabel")
    places = test.shape[2:] if channelled else test.shape[1:]
    output = (
        constant.to(test.device).reshape(1, -1, *[1] * len(places)).expand(len(test), -1, *places)
    )
    accumulator = task.primary.fresh(task)
    accumulator.update(output, test)
    return accumulator.compute()


def _regression(task: Task, columns: Tensor) -> Tensor | None:
    """Mean per output (median for mae), as a standardised output."""
    mean, std = (
        torch.tensor(v, dtype=torch.float64).expand(task.size) for v in (task.mean, task.std)
    )
    if bool(columns.isnan().all()):
        return None
    centre = columns.nanmedian(0).values if task.primary.name == "mae" else columns.nanmean(0)
    return torch.where(centre.isnan(), 0.0, (centre - mean) / std)


def _prior(task: Task, columns: Tensor) -> Tensor | None:
    """Logits of the share of each class or label; one that never occurs counts as half an item."""
    mask = present(task.kind, columns)
    if not bool(mask.any()):
        return None
    if task.kind == "multiclass":
        count = torch.bincount(columns[mask].long(), minlength=len(task.classes)).double()
        return count.clamp(min=0.5).log()
    ones = ((columns == 1) & mask).sum(0).double()
    zeros = ((columns == 0) & mask).sum(0).double()
    return ones.clamp(min=0.5).log() - zeros.clamp(min=0.5).log()
