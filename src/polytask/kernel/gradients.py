"""Gradients of one loss without a trace: nothing is accumulated and no hook of the user's fires."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError


def gradients(
    loss: Tensor, inputs: Sequence[Any], loss_scale: float = 1.0, *, twice: bool = False
) -> tuple[Tensor | None, ...]:
    """Gradients of `loss_scale` times the loss by tensors or graph edges; the graph stays.

    Hooks that the user put on these very tensors are for the step's one final gradient and do
    not fire here. None for what the loss does not reach. With `twice` the gradients have a graph
    of their own, to be differentiated again.
    """
    scaled = loss * loss_scale if loss_scale != 1.0 else loss
    with _without_hooks(inputs), explained():
        return torch.autograd.grad(
            scaled, list(inputs), retain_graph=True, create_graph=twice, allow_unused=True
        )


@contextmanager
def explained() -> Iterator[None]:
    """Errors of autograd that come from using a graph more than once, with their remedy."""
    try:
        yield
    except RuntimeError as error:
        if "donated buffers" in str(error):
            raise UserError(
                "torch.compile gave memory of the forward pass away that the gradients of the "
                "single tasks still need. Leave the heads uncompiled (with features= passed, the "
                "encoder may stay compiled for statistic='features'), or set "
                "torch._functorch.config.donated_buffer = False and "
                "torch._inductor.config.force_disable_caches = True before the first compiled "
                "call: code that was cached under the other setting gives wrong gradients."
            ) from error
        if "Trying to backward through the graph a second time" in str(error):
            raise UserError(
                "the graph of these losses was freed by an earlier backward pass; call "
                "balancer.backward once for a forward pass, and before it anything else that "
                "goes through the graph, with retain_graph=True."
            ) from error
        raise


def first_hook(tensor: Tensor, hook: Callable[[Tensor], Tensor]) -> Any:
    """Register a hook that runs before those that are there; returns its handle."""
    handle = tensor.register_hook(hook)
    hooks: Any = tensor._backward_hooks
    others = [(key, other) for key, other in hooks.items() if key != handle.id]
    for key, other in others:  # autograd reads the order of insertion
        del hooks[key]
        hooks[key] = other
    return handle


@contextmanager
def _without_hooks(inputs: Sequence[Any]) -> Iterator[None]:
    held = []
    for item in inputs:
        hooks = item._backward_hooks if isinstance(item, Tensor) else None
        if hooks:
            held.append((hooks, list(hooks.items())))
            hooks.clear()
    try:
        yield
    finally:
        for hooks, items in held:
            hooks.update(items)
