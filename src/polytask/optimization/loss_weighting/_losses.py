"""What several methods ask of loss values: their sign, and how large they were at first."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.state import NamedState


def need_positive(
    method: str,
    tasks: Sequence[str],
    losses: Tensor,
    *,
    zero: bool = False,
    remedy: str = "use a method that allows any sign, such as linear",
) -> None:
    """Raise `UserError` naming the first task whose loss is not positive.

    Args:
        method: who asks.
        tasks: the present tasks.
        losses: shape [T].
        zero: whether a loss of exactly 0 is allowed.
        remedy: what to do about it.
    """
    for task, loss in zip(tasks, losses.tolist(), strict=True):
        if loss < 0 or (loss == 0 and not zero):
            kind = "losses that are not negative" if zero else "positive losses"
            raise UserError(
                f"{method} needs {kind}, and the loss of task {task!r} is {loss:g}; {remedy}."
            )


def first_losses(state: NamedState, tasks: Sequence[str], losses: Tensor) -> Tensor:
    """The loss that each task had when it was first seen, shape [T]; kept by name."""
    for task, loss in zip(tasks, losses.detach().unbind(), strict=True):
        if not state.has("first_loss", task):
            state.table["first_loss", task] = loss.clone()
    return state.entry("first_loss", tasks, 0.0, losses)
