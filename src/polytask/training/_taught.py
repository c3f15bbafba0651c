"""Which elements of a task's outputs are taught, and the soft targets beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.tasks import Task
from polytask.tasks._items import check_output, present


def taught_elements(
    task: Task,
    output: Tensor,
    target: Tensor,
    soft: Tensor,
    *,
    unlabelled: bool,
    every_place: bool,
) -> tuple[Tensor, Tensor]:
    """Outputs and soft targets of what is taught, taken out before any loss sees the rest.

    Args:
        task: what they are of.
        output: the student's, channels second.
        target: labels, missing ones marked.
        soft: what the teachers say, of the shape of `output`.
        unlabelled: teach what has no label too.
        every_place: of dense tasks; see `polytask.training.Distillation`.

    Returns:
        `[n, k]` each for "multiclass", `[n]` for other kinds.

    Raises:
        UserError: soft targets of another shape than the outputs.
    """
    output = check_output(task.name, task.output_size, output)
    if soft.shape != output.shape:
        raise UserError(
            f"the teacher of {task.name!r} answers in the shape {list(soft.shape)}, the model in "
            f"{list(output.shape)}. Use a teacher of the same task, for the same rows."
        )
    dense = output.dim() > 2
    mask = _labelled(task, output, target)
    if unlabelled:
        mask = _with_unlabelled(mask, dense and not every_place)
    output, soft = output.movedim(1, -1), soft.movedim(1, -1)
    if task.kind == "multiclass":
        mask = mask.squeeze(-1)
    return output[mask], soft[mask].to(output.dtype)


def _labelled(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Which elements have a label, channels last: `[N, *places, c]`, or 1 channel for codes."""
    vector = task.kind in ("regression", "multilabel")
    shape = list(output.shape) if vector else [len(output), *output.shape[2:]]
    # The loss on labels has checked the target: only an axis of size 1 may be more or less.
    mask = present(task.kind, target.reshape(shape))
    return mask.movedim(1, -1) if vector else mask.unsqueeze(-1)


def _with_unlabelled(mask: Tensor, labelled_places: bool) -> Tensor:
    """Every element; or, of items with some labelled place, the elements of such places."""
    if not labelled_places:
        return torch.ones_like(mask)
    places = mask.any(-1, keepdim=True)
    items = places.flatten(1).any(1).view(-1, *[1] * (mask.dim() - 1))
    return (places | ~items).expand_as(mask)
