"""Low rank along every dimension of a weight of all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from polytask.optimization.regularization._base import Regularizer, Stacks
from polytask.optimization.regularization._terms import ranks_of, tucker_norm, unfolded


class Tucker(Regularizer):
    """Few directions along every dimension: nuclear norms of all unfoldings of the weights.

    The mean over the dimensions of the tensor [K, ...] of the nuclear norm of its unfolding along
    that dimension, times strength. Y. Yang & T. Hospedales, "Trace Norm Regularised Deep
    Multi-Task Learning", ICLR workshop 2017, https://arxiv.org/abs/1606.04038, who sum them with
    weights of their own; here all weigh the same, and 1 together. The sum has no proximal map in
    closed form. Not 0 for equal networks. Weights of two and more dimensions are tied.

    Cost of a step: a singular value decomposition a dimension and weight. Diagnostics, by
    weight: `ranks`, of each unfolding, tasks first, the singular values above a hundredth of the
    largest; `full`, the most that there could be.

    Args:
        strength: see `Regularizer`.

    """

    name = "tucker"
    paper = "Yang & Hospedales 2017"
    tells: ClassVar[dict[str, str]] = {
        "ranks": "directions along every dimension of the weights, tasks first",
        "full": "the most there could be",
    }

    def __init__(self, strength: float = 1e-2) -> None:
        super().__init__(strength)

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """The mean of the nuclear norms."""
        return tucker_norm(stack)

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """The ranks of every weight."""
        return ranks_of(
            {
                name: [unfolded(stack, mode) for mode in range(stack.dim())]
                for name, stack in stacks.items()
            }
        )
