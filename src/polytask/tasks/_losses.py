"""Losses per labelled element. Averaging over them is `Task.loss`'s."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from polytask.errors import UserError, foreign

Loss = Callable[[Tensor, Tensor], Tensor]


def squared(output: Tensor, target: Tensor) -> Tensor:
    """Squared error."""
    return (output - target).square()


def huber(output: Tensor, target: Tensor) -> Tensor:
    """Huber loss with its knee at one standard deviation of the target."""
    return functional.huber_loss(output, target, reduction="none")


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Absolute error."""
    return (output - target).abs()


REGRESSION_LOSSES: dict[str, Loss] = {"squared": squared, "huber": huber, "l1": l1}


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits `[n, k]` and codes `[n]`."""
    return functional.cross_entropy(output, target, reduction="none")


def logistic(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits and 0/1 floats of one shape."""
    return functional.binary_cross_entropy_with_logits(output, target, reduction="none")


def standardise(
    target: Tensor, mean: float | tuple[float, ...], std: float | tuple[float, ...]
) -> Tensor:
    """Targets `[n, size]` in units of the training spread; float64 inside, dtype kept."""
    wide = {"dtype": torch.float64, "device": target.device}
    centred = target.double() - torch.tensor(mean, **wide)  # type: ignore[arg-type]
    return (centred / torch.tensor(std, **wide)).to(target.dtype)  # type: ignore[arg-type]


def checked(name: str, loss: Loss, output: Tensor, target: Tensor, *, flat: bool) -> Tensor:
    """Call a loss on n labelled items and check that it answered one value for each.

    With `flat` the answer must be `[n]`; otherwise rows may keep more axes, which are averaged.
    """
    n = len(target)
    with foreign(
        lambda what: (
            f"task {name!r}: loss_function raised {what}, for outputs "
            f"{list(output.shape)} and targets {list(target.shape)}; expected one loss per item. "
            "Call it by hand on two such tensors."
        )
    ):
        losses = loss(output, target)
    shape = list(losses.shape) if isinstance(losses, Tensor) else None
    if not shape or shape[0] != n or (flat and len(shape) > 1):
        found = type(losses).__name__ if shape is None else f"shape {shape}"
        raise UserError(
            f"task {name!r}: loss_function must return one loss per labelled item, shape [{n}]; "
            f"found {found}. Leave the averaging to polytask (reduction='none')."
        )
    return losses.reshape(n, -1).mean(1)
