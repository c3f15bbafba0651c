"""The losses of one step, checked: which tasks are present, what is shared, what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polytask.errors import NonFiniteError, UserError

Shared = nn.Module | Iterable[Tensor] | None
Features = Tensor | Sequence[Tensor] | None
Losses = Mapping[str, Tensor | Sequence[Tensor]]
"""Task name to scalar loss, or to several that are summed."""


@dataclass(frozen=True)
class Problem:
    """The present tasks and their loss tensors (scalars with a graph)."""

    tasks: tuple[str, ...]
    losses: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def values(self) -> Tensor:
        """Loss values, shape [T], detached, float64."""
        return torch.stack([loss.detach().double() for loss in self.losses])

    def without(self, tasks: set[str]) -> Problem:
        """The problem with some tasks left out."""
        kept = [i for i, task in enumerate(self.tasks) if task not in tasks]
        return Problem(tuple(self.tasks[i] for i in kept), tuple(self.losses[i] for i in kept))


def pose(losses: Losses, counts: Mapping[str, int] | None = None) -> Problem:
    """Check the losses and leave out the tasks that have no labels in this batch.

    Several losses of one task are summed: they are balanced as one.

    A task is absent when it is not a key of `losses` or its count is 0. It is removed from
    the problem: a zero row would change what the others get.

    Raises:
        UserError: no task is present, a loss is not a scalar tensor, or carries no graph.
    """
    if not isinstance(losses, Mapping):
        raise UserError(
            "losses must be a dict from task name to a scalar loss tensor, found "
            f"{type(losses).__name__}; a summed loss cannot be taken apart again, so pass "
            "{'a': loss_a, 'b': loss_b}."
        )
    present = {
        task: total(task, loss)
        for task, loss in losses.items()
        if counts is None or counts.get(task, 1) > 0
    }
    if not present:
        raise UserError("no task has a loss in this batch; skip the step when losses is empty.")
    for task, loss in present.items():
        if loss.grad_fn is None:
            raise UserError(
                f"the loss of task {task!r} carries no gradient; expected one computed from the "
                "model's outputs, without detach() or torch.no_grad(). Leave an absent task out of "
                "losses."
            )
    return Problem(tuple(present), tuple(present.values()))


def total(task: str, loss: Tensor | Sequence[Tensor]) -> Tensor:
    """The loss of one task as a scalar tensor; a list or tuple of losses is summed.

    Raises:
        UserError: it is no scalar tensor, or no list of them.
    """
    several = isinstance(loss, list | tuple)
    parts: list[Any] = list(loss) if several else [loss]
    for part in parts:
        if not isinstance(part, Tensor) or part.numel() != 1:
            found = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise UserError(
                f"the loss of task {task!r} must be a scalar tensor, or a list of them to be "
                f"summed; found {found}{' in the list' if several else ''}. "
                + (
                    "Reduce it, as by .mean()."
                    if isinstance(part, Tensor)
                    else "Pass the tensor itself, not its .item()."
                )
            )
    if not parts:
        raise UserError(
            f"the list of losses of task {task!r} is empty; leave an absent task out of losses."
        )
    scalars = [part.reshape(()) for part in parts]
    return scalars[0] if len(scalars) == 1 else sum(scalars[1:], start=scalars[0])


def log_losses(problem: Problem) -> Problem:
    """log L_t in place of L_t: gradients are divided by the losses, so units do not matter."""
    for task, value in zip(problem.tasks, problem.values.tolist(), strict=True):
        if value <= 0:
            raise UserError(
                f"the logarithm needs positive losses, and the loss of task {task!r} is "
                f"{value:g}; leave transform='log' out or add a constant to the loss."
            )
    return Problem(problem.tasks, tuple(loss.log() for loss in problem.losses))


def check_finite(values: Tensor, tasks: Sequence[str], what: str) -> None:
    """Raise `NonFiniteError` naming the tasks whose entry of `values` is not finite."""
    bad = (~torch.isfinite(values)).reshape(len(tasks), -1).any(dim=1).tolist()
    if any(bad):
        named = ", ".join(
            f"{task!r} ({values.reshape(len(tasks), -1)[i, 0].item():g})"
            for i, task in enumerate(tasks)
            if bad[i]
        )
        raise NonFiniteError(
            f"the {what} of task {named} is not finite; nothing was updated. Look at this "
            "batch's inputs and targets, lower the learning rate, or pass "
            "non_finite='skip_task' to leave such tasks out of a step."
        )


def as_parameters(shared: Shared) -> list[Tensor] | None:
    """The shared parameters that the caller named, or None when they are to be found."""
    if shared is None:
        return None
    given = list(shared.parameters()) if isinstance(shared, nn.Module) else list(shared)
    trainable = [p for p in given if isinstance(p, Tensor) and p.requires_grad]
    if not trainable:
        raise UserError(
            "shared= holds no parameter that requires a gradient; pass the shared encoder, its "
            "parameters, or leave shared= out to have them found."
        )
    return trainable


def as_cut(features: Features) -> list[Tensor] | None:
    """The shared representation as a list of tensors that carry a graph."""
    if features is None:
        return None
    cut = [features] if isinstance(features, Tensor) else list(features)
    for tensor in cut:
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            raise UserError(
                "features= must be the tensor (or the list of tensors) that the shared encoder "
                "returned in this forward pass and that the heads read; found "
                f"{'a tensor without a graph' if isinstance(tensor, Tensor) else type(tensor)}."
            )
    return cut
