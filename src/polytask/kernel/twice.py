"""Gradients of single tasks that can be differentiated again, for terms that are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.gradients import gradients
from polytask.kernel.measure import Discovery, flat_row, inputs_of, nothing_shared
from polytask.kernel.problem import Problem

# What torch says, in lower case, of an operation that it can differentiate once only.
ONCE_ONLY = ("double backward", "differentiate twice", "derivative for", "not differentiable")


def rows_with_graph(
    problem: Problem,
    kind: str,
    discovery: Discovery,
    depth: int,
    *,
    shared: list[Tensor] | None = None,
    cut: list[Tensor] | None = None,
    loss_scale: float = 1.0,
) -> list[Tensor | None]:
    """The gradient of every task, flat, at least float32, with a graph.

    They are those that `measure` reads, times the loss scale; None for a task whose loss reaches
    none of what they are of. Cost: that of `measure`, and the gradients on the way are kept.

    Args:
        problem: two present tasks or more.
        kind: 'features', 'tail' or 'exact'.
        discovery: the cache of who shares what; a stale entry is found and replaced.
        depth: number of shared layers that 'tail' reads, counted from the heads.
        shared: the shared parameters, when the caller named them.
        cut: the shared representation, when the caller passed it.
        loss_scale: factor on the losses, against float16 underflow.

    Raises:
        UserError: nothing is shared by two tasks.
    """
    for attempt in range(2):
        inputs = inputs_of(problem, kind, discovery, depth, shared, cut)
        if not inputs:
            nothing_shared(problem, kind)
        rows = [
            flat_row(gradients(loss, inputs, loss_scale, twice=True), inputs)
            for loss in problem.losses
        ]
        if shared is not None or attempt or any(row is not None for row in rows):
            break
        discovery.forget()  # another model than the one that was walked
    return rows


@contextmanager
def twice_explained(name: str) -> Iterator[None]:
    """Errors of operations that cannot be differentiated twice, with what to do; for `name`."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error).lower() for words in ONCE_ONLY):
            raise
        raise UserError(
            f"{name} differentiates gradients once more, and an operation of the heads or of the "
            f"last shared layers has no second derivative ({str(error).splitlines()[0]}). Fused "
            "layers are such: run a cuDNN recurrent layer under "
            "torch.backends.cudnn.flags(enabled=False), attention under "
            "torch.nn.attention.sdpa_kernel(SDPBackend.MATH), and leave these parts uncompiled; "
            "or use a method without second derivatives, such as pcgrad."
        ) from error
