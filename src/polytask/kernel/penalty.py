"""A term beside the tasks' losses: never balanced, its gradient joins theirs in `.grad`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.errors import NonFiniteError, UserError
from polytask.kernel.graph import leaves

Gradients = list[tuple[Tensor, Tensor]]


def penalty_gradients(penalty: Tensor, scaler: Any = None) -> Gradients:
    """Gradients of a penalty on all it depends on, times the loss scale; its graph is kept.

    Cost: one backward pass of the penalty's own graph. Raises `UserError` unless it is a scalar
    with a graph, and `NonFiniteError` when it or a gradient is not finite and no scaler is there
    to lower its scale.
    """
    if not isinstance(penalty, Tensor) or penalty.numel() != 1 or penalty.grad_fn is None:
        given = f"shape {tuple(penalty.shape)}" if isinstance(penalty, Tensor) else repr(penalty)
        raise UserError(
            f"penalty must be a scalar tensor with a graph, found {given}. Pass the sum of the "
            "terms, or leave it out."
        )
    if not bool(penalty.isfinite()):
        raise NonFiniteError(
            f"the penalty is {penalty.item()}; expected a finite number, so nothing was updated. "
            "Look at the architecture's terms, or lower the learning rate."
        )
    below = list(leaves([penalty.grad_fn]))
    scaled = scaler is not None and scaler.is_enabled()
    scale = scaler.get_scale() if scaled else 1.0
    # Second derivatives can end on the way to a leaf (a bias below a max-pool): no gradient then.
    every = torch.autograd.grad(
        penalty.reshape(()) * scale, below, retain_graph=True, allow_unused=True
    )
    found = [(leaf, g) for leaf, g in zip(below, every, strict=True) if g is not None]
    # With a scaler the step is left out, and its scale lowered, by the scaler.
    if not scaled and not all(bool(g.isfinite().all()) for _, g in found):
        raise NonFiniteError(
            "the gradient of the penalty is not finite, though the penalty is; nothing was "
            "updated. Look for a square root, logarithm or division at 0 in its terms."
        )
    return found


def add_gradients(gradients: Gradients) -> None:
    """Add to the `.grad` of every parameter."""
    with torch.no_grad():
        for leaf, gradient in gradients:
            if leaf.grad is None:
                leaf.grad = gradient.to(leaf.dtype)
            else:
                leaf.grad += gradient
