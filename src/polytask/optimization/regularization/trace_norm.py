"""Low rank of the matrix that a weight of all tasks makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from polytask.optimization.regularization._base import Regularizer, Stacks
from polytask.optimization.regularization._terms import nuclear_norm, rank, shrunk, spectrum


class TraceNorm(Regularizer):
    """Tasks' weights span few directions: the nuclear norm of the weights of all tasks.

    The weights of the K networks, as the columns of a matrix, times strength: "last axis
    flattening" of Y. Yang & T. Hospedales, "Trace Norm Regularised Deep Multi-Task Learning",
    ICLR workshop 2017, https://arxiv.org/abs/1606.04038. The gradient is U V^T, the sub-gradient
    of least norm where singular values are 0. Not 0 for equal networks: it is then the norm of
    one of them times the root of K. Weights of two and more dimensions are tied.

    Trap: gradients never reach a low rank; proximal steps do. They lower all singular values by
    lr * strength, to 0 at least.

    Cost of a step: a singular value decomposition of a [tasks, size] matrix a weight.
    Diagnostics, by weight: `rank`, the singular values above a hundredth of the largest;
    `spectrum`, all of them as shares of the largest.

    Args:
        strength, prox: see `Regularizer`.

    """

    name = "trace_norm"
    paper = "Yang & Hospedales 2017"
    proximal = True
    tells: ClassVar[dict[str, str]] = {
        "rank": "directions that the weights of the tasks span, from a hundredth of the largest on",
        "spectrum": "singular values, as shares of the largest",
    }

    def __init__(self, strength: float = 1e-2, prox: bool = False) -> None:
        super().__init__(strength, prox)

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """The nuclear norm."""
        return nuclear_norm(stack.flatten(1))

    def _proximal(self, stack: Tensor, step: float, tasks: Sequence[str]) -> Tensor:
        return shrunk(stack.flatten(1), step).view_as(stack)

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """The rank and the singular values of every weight."""
        rows = {name: stack.flatten(1) for name, stack in stacks.items()}
        return {
            "rank": {name: rank(matrix) for name, matrix in rows.items()},
            "spectrum": {name: spectrum(matrix) for name, matrix in rows.items()},
        }
