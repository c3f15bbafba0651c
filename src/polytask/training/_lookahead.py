"""What a step on each task alone would do to the losses of all: taken, looked at, taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polytask.kernel.gradients import gradients
from polytask.kernel.measure import Discovery, nothing_shared
from polytask.kernel.problem import pose
from polytask.kernel.shift import Closure, read_losses, shifted, unnoticed
from polytask.training._recorder import unshaken


@dataclass(frozen=True)
class Ahead:
    """Losses of T tasks before and after steps on one task each, float64 on the host."""

    tasks: tuple[str, ...]
    before: Tensor
    """Shape [T]."""
    after: Tensor
    """Shape [T, T]: [i, j] is the loss of task i after a step on task j."""

    def plus(self, other: Ahead) -> Ahead:
        """The mean of two looks, over the tasks of both."""
        common = [task for task in self.tasks if task in other.tasks]
        one, two = (
            torch.tensor([look.tasks.index(task) for task in common], dtype=torch.long)
            for look in (self, other)
        )
        return Ahead(
            tuple(common),
            (self.before[one] + other.before[two]) / 2,
            (self.after[one][:, one] + other.after[two][:, two]) / 2,
        )


def look_ahead(
    taken: Closure,
    judged: Closure,
    sizes: Callable[[Tensor], Tensor],
    model: nn.Module,
    loss_scale: float = 1.0,
) -> Ahead | None:
    """Losses `judged` before, and after a step of the shared parameters on each loss of `taken`.

    The shared parameters, those that two of the tasks or more use, move by -P g_j and nothing else
    does. Every look sees the same random numbers, those of the first, and leaves none of its
    own behind: parameters, buffers and random states are as before, bit for bit.

    Cost, with T tasks: a forward and T backward passes of `taken`, T + 1 forward passes of
    `judged` without a graph, and one gradient and one copy of the shared parameters in memory.

    Args:
        taken: computes the losses whose gradients are stepped along.
        judged: computes the losses to look at.
        sizes: P of a parameter, see `polytask.kernel.precondition`.
        model: holds the parameters, and the buffers to be left as they are.
        loss_scale: factor on the losses in the backward passes, against float16 underflow.

    Returns:
        None when fewer than two tasks have both losses.

    Raises:
        UserError: nothing is shared by two of the tasks, or P is not known.
    """
    everything = list(model.parameters())
    with unnoticed(everything, model), torch.no_grad(), unshaken():
        judging = judged()
    with unnoticed(everything, model), unshaken():
        losses = taken()
    tasks = tuple(task for task in losses if task in judging)
    if len(tasks) < 2:
        return None
    before = read_losses(judging, tasks)
    problem = pose({task: losses[task] for task in tasks})
    shared = Discovery().parameters(problem, "exact", 0)
    if not shared:
        nothing_shared(problem, "exact")
    steps = [sizes(parameter) for parameter in shared]
    after = torch.empty(len(tasks), len(tasks), dtype=torch.float64)
    for j, loss in enumerate(problem.losses):
        slopes = gradients(loss, shared, loss_scale)
        reached = [k for k, slope in enumerate(slopes) if slope is not None]
        moves = [_move(steps[k], slopes[k], loss_scale) for k in reached]
        with shifted([shared[k] for k in reached], moves, model), torch.no_grad(), unshaken():
            after[:, j] = read_losses(judged(), tasks)
    return Ahead(tasks, before, after)


def _move(size: Tensor, slope: Tensor | None, loss_scale: float) -> Tensor:
    assert slope is not None, "only what the loss reaches is moved"
    dense = slope.to_dense() if slope.layout != torch.strided else slope
    return dense.to(size.dtype) * size / -loss_scale
