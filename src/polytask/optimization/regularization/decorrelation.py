"""Tasks' weights at right angles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from polytask.optimization.regularization._base import Regularizer, Stacks, by_pair, gramian


class Decorrelation(Regularizer):
    """Tasks' weights are pushed to right angles: squared cosines of all pairs of tasks.

    strength * sum over pairs cos(W_i, W_j)^2, of each weight by itself, flattened. It is not the
    published CosReg (M. Suteu & Y. Guo, "Regularizing Deep Multi-Task Networks using
    Orthogonal Gradients", 2019, https://arxiv.org/abs/1912.06844), which is the same sum over the
    *gradients* at the last shared layer and is the method `cosreg`. Networks that share no layer
    have no such gradients; here it is of the weights themselves, the form in which P. Rodriguez et
    al., "Regularizing CNNs with Locally Constrained Decorrelations", ICLR 2017,
    https://arxiv.org/abs/1611.01967, decorrelate the filters of one layer (half their sum over
    ordered pairs is this sum over pairs).

    It keeps networks apart: the opposite of the other terms. Equal networks have the largest
    value, K (K - 1) / 2 a weight, where its gradient is 0: use it with networks drawn apart
    (`fresh`). It does not depend on the scale of the weights; a weight of zeros has cosine 0.
    Weights of two and more dimensions are read.

    Diagnostics: `cosine`, by pair of tasks, of all weights together.

    Args:
        strength: see `Regularizer`.

    """

    name = "decorrelation"
    paper = "Rodriguez 2017"
    tells: ClassVar[dict[str, str]] = {
        "cosine": "cosine of the weights of two tasks, over all layers"
    }

    def __init__(self, strength: float = 1e-2) -> None:
        super().__init__(strength)

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """The sum over pairs."""
        rows = normalize(stack.flatten(1), dim=1)
        return (rows @ rows.T).triu(diagonal=1).square().sum()

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """The cosines of all pairs."""
        products = gramian(stacks)
        lengths = products.diagonal().sqrt()
        scale = lengths * lengths[:, None]
        return {"cosine": by_pair(torch.where(scale > 0, products / scale, 0), tasks)}
