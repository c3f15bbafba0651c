"""Weights of several networks, and oracles, for the tests of regularizers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TASKS = ("wind", "rain", "sun")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(leaf), leaf)
    return found
