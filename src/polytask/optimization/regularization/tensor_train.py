"""Low rank between the first and the last dimensions of a weight of all tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from polytask.optimization.regularization._base import Regularizer, Stacks
from polytask.optimization.regularization._terms import nuclear_norm, ranks_of


class TensorTrain(Regularizer):
    """Few directions at every cut of a tensor train: nuclear norms of the sequential unfoldings.

    The mean over m of the nuclear norm of the tensor [K, d_1, d_2, ...] as a matrix whose rows
    are its first m dimensions, times strength. Y. Yang & T. Hospedales, "Trace Norm Regularised
    Deep Multi-Task Learning", ICLR workshop 2017, https://arxiv.org/abs/1606.04038, who sum them
    with weights of their own; here all weigh the same, and 1 together. They count the tasks as
    the last dimension, after inputs and outputs; torch's layers keep outputs before inputs, so
    that reading from the tasks on, as here, cuts a dense layer at the same places. The sum has no
    proximal map in closed form. Not 0 for equal networks. Weights of two and more dimensions are
    tied.

    Cost of a step: a singular value decomposition a cut and weight. Diagnostics, by
    weight: `ranks`, of each cut, tasks first, the singular values above a hundredth of the
    largest; `full`, the most that there could be.

    Args:
        strength: see `Regularizer`.

    """

    name = "tensor_train"
    paper = "Yang & Hospedales 2017"
    tells: ClassVar[dict[str, str]] = {
        "ranks": "directions at every cut through the dimensions of the weights, tasks first",
        "full": "the most there could be",
    }

    def __init__(self, strength: float = 1e-2) -> None:
        super().__init__(strength)

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """The mean of the nuclear norms."""
        return torch.stack([nuclear_norm(matrix) for matrix in _cuts(stack)]).mean()

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """The ranks of every weight."""
        return ranks_of({name: [*_cuts(stack)] for name, stack in stacks.items()})


def _cuts(stack: Tensor) -> Iterator[Tensor]:
    """The tensor as a matrix, by its first 1, 2, ... dimensions."""
    for first in range(1, stack.dim()):
        yield stack.flatten(first).flatten(0, first - 1)
