"""The linear layer that a task's head ends in, found by name and tried on a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training._forward import Forward, parts_of

Linear = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
"""What answers a linear map of what it reads, channel by channel or at every place."""


def last_layer(model: nn.Module, task: Task, name: str | None) -> Linear:
    """The layer that ends `model.heads[task]`, or the one of that name.

    Raises `UserError` when there is none, when it is not linear, has no bias, another number of
    outputs than the task or a weight that is computed from others.
    """
    if name is not None:
        layers = dict(model.named_modules())
        if name not in layers:
            raise UserError(
                f"popart: the model has no module {name!r}, the layer given for task "
                f"{task.name!r}. Give its name as in model.named_modules()."
            )
        layer = _end(layers[name], task)
    else:
        layer = _end(_head(model, task), task)
    weight, bias = (layer._parameters.get(word) for word in ("weight", "bias"))
    if weight is None or bias is None:
        lacks = "weight of its own" if weight is None else "bias"
        raise UserError(
            f"popart rewrites weight and bias of the last layer of task {task.name!r}, and this "
            f"{type(layer).__name__} has no {lacks}. Use an ordinary linear layer with a bias."
        )
    if weight.shape[0] != task.size:
        raise UserError(
            f"popart: the last layer of task {task.name!r} has {weight.shape[0]} outputs, expected "
            f"{task.size}. Give every task a layer of its own."
        )
    return layer


def check_layers(forward: Forward, layers: Mapping[str, Linear], batch: Any) -> None:
    """Raise `UserError` unless each layer's answer is the task's output on a batch.

    Doubling the answer and adding 1 must do the same to the output: then nothing but a resampling
    of places comes after it. One forward pass a task, without gradients, in evaluation mode.
    """
    model, training = forward.model, forward.model.training
    model.eval()
    try:
        with torch.no_grad():
            for inputs, targets in parts_of(*batch):
                for name in filter(targets.__contains__, layers):
                    others = [task for task in forward.tasks if task != name]
                    before = forward(inputs, without=others)[0][name]
                    handle = layers[name].register_forward_hook(_doubled)
                    try:
                        after = forward(inputs, without=others)[0][name]
                    finally:
                        handle.remove()
                    _compare(name, before, after)
    finally:
        model.train(training)


def _doubled(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return 2 * output + 1


def _compare(name: str, before: Tensor, after: Tensor) -> None:
    """Raise `UserError` unless one is twice the other and 1 more, up to half precision."""
    wanted = 2 * before + 1
    size = float(wanted.nan_to_num().abs().max()) if wanted.numel() else 0.0
    if not torch.allclose(after, wanted, rtol=0.0, atol=0.02 * size, equal_nan=True):
        raise UserError(
            f"popart: the output of task {name!r} is not the answer of its last linear layer; "
            "something comes after it, or it is another layer. Let the head end there, or name the "
            "layer with layers."
        )


def _head(model: nn.Module, task: Task) -> nn.Module:
    """What `model.heads` holds for a task."""
    heads = getattr(model, "heads", None)
    try:
        found = heads[task.name]  # type: ignore[index]
    except (TypeError, KeyError, AttributeError):
        found = None
    if not isinstance(found, nn.Module):
        raise UserError(
            f"popart looks for the last layer of task {task.name!r} in model.heads, and "
            f"{type(model).__name__} has none for it. Name it: "
            f"popart={{'layers': {{{task.name!r}: 'NAME'}}}}."
        )
    return found


def _end(module: nn.Module, task: Task) -> Linear:
    """The last layer of a module, as its parts are listed."""
    while not isinstance(module, Linear):
        inside = list(module.children())
        if not inside:
            raise UserError(
                f"popart needs a linear layer at the end of the head of task {task.name!r}, found "
                f"{type(module).__name__}. Leave that out, or name the tasks that it is for."
            )
        module = inside[-1]
    return module
