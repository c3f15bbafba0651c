"""Networks are drawn to their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from polytask.optimization.regularization._base import Regularizer, Stacks
from polytask.optimization.regularization._terms import spread, towards_mean


class L2(Regularizer):
    """All networks are drawn to their mean: squared distances of all pairs of tasks.

    strength/2 sum over pairs ||W_i - W_j||^2 = strength/2 K sum_i ||W_i - mean||^2. L. Duong et
    al., "Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network
    Parser", ACL 2015, https://aclanthology.org/P15-2139, for two languages; for any number, T.
    Evgeniou & M. Pontil, "Regularized Multi-Task Learning", KDD 2004. A strength without bound is
    hard sharing. All parameters are tied, biases and norms too.

    Trap: by gradients it diverges where lr * strength * tasks is above 2. Proximal step: the mean
    stays, differences from it are divided by 1 + lr * strength * tasks.

    Diagnostics: `spread`, by weight: the squared differences from the mean as a share of all
    squares, 0 for equal networks.

    Args:
        strength, prox: see `Regularizer`.

    """

    name = "l2"
    paper = "Evgeniou & Pontil 2004; Duong 2015"
    least = 1
    proximal = True
    zero_of_equals = True
    tells: ClassVar[dict[str, str]] = {
        "spread": "squared differences from the mean network, as a share of all squares"
    }

    def __init__(self, strength: float = 1e-2, prox: bool = False) -> None:
        super().__init__(strength, prox)

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """Half the sum over pairs."""
        return spread(stack) / 2

    def _proximal(self, stack: Tensor, step: float, tasks: Sequence[str]) -> Tensor:
        return towards_mean(stack, step)

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """The spread of every weight, as a share."""
        shares = {}
        for name, stack in stacks.items():
            total = float(stack.square().sum()) * len(stack)
            shares[name] = float(spread(stack)) / total if total else 0.0
        return {"spread": shares}
