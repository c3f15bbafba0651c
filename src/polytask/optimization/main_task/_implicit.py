"""The vector of implicit differentiation: an inverse Hessian times a gradient, by a series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError

# What autograd says where the derivative of a derivative is missing.
ONCE_ONLY = ("not implemented", "once_differentiable", "double backward", "differentiate twice")


def inverse_hessian_times(
    loss: Tensor, parameters: Sequence[Tensor], vector: Sequence[Tensor], alpha: float, terms: int
) -> list[Tensor]:
    """alpha sum_{j=0..terms} (I - alpha H)^j v, which goes to H⁻¹ v for alpha < 2 / lambda_max(H).

    H is the Hessian of `loss` by the parameters, never formed: every term beyond the first is
    one backward pass through the gradient's own graph (Lorraine et al. 2020,
    https://arxiv.org/abs/1911.02590, algorithm 3). The loss's graph stays.

    Args:
        loss: a scalar with a graph.
        parameters: what it is differentiated by.
        vector: v, one tensor a parameter.
        alpha: step of the series.
        terms: how many beyond the first.

    Raises:
        UserError: a layer of the network cannot be differentiated twice.
    """
    result = term = list(vector)
    with _twice():
        slopes = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        if _holds_error(slopes):
            raise RuntimeError("a function is marked as once_differentiable")
        # One without a graph of its own does not depend on the parameters: its Hessian is zero.
        curved = [slope is not None and slope.requires_grad for slope in slopes]
        outputs = [slope for slope, ok in zip(slopes, curved, strict=True) if ok]
        for _ in range(terms if outputs else 0):
            along = [t.to(s) for t, s, ok in zip(term, slopes, curved, strict=True) if ok]
            products = torch.autograd.grad(
                outputs, parameters, along, retain_graph=True, allow_unused=True
            )
            term = [
                t if product is None else t - alpha * product
                for t, product in zip(term, products, strict=True)
            ]
            result = [r + t for r, t in zip(result, term, strict=True)]
        if not outputs:
            result = [r * (terms + 1) for r in result]
    return [alpha * r.detach() for r in result]


def _holds_error(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a function in the graph refuses its second derivative.

    Its node hangs beside the way to the parameters, so `torch.autograd.grad` would pass it by and
    take what the function gives for a constant.
    """
    seen: set[Any] = set()
    stack: list[Any] = [t.grad_fn for t in tensors if t is not None]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        if type(node).__name__ == "Error":
            return True
        seen.add(node)
        stack.extend(child for child, _ in node.next_functions)
    return False


@contextmanager
def _twice() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in ONCE_ONLY):
            raise
        raise UserError(
            "a layer of the network cannot be differentiated twice, which implicit "
            f"differentiation needs; torch says: {str(error).splitlines()[0].rstrip('.')}. Leave "
            "the model uncompiled, run attention under torch.nn.attention.sdpa_kernel("
            "SDPBackend.MATH), give functions of your own a differentiable backward, or use "
            "auto_lambda or hydalearn, which take first derivatives only."
        ) from error
