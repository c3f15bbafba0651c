"""Inputs that no task uses, or all may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from polytask.errors import unknown
from polytask.optimization.regularization._base import Regularizer, Stacks

GROUPS = ("input", "position")


class BlockSparse(Regularizer):
    """Tasks agree on which inputs they use: the l1/l2 norm, a sum of norms over groups of weights.

    strength * sum_g ||W_g||_2, with a group for each input unit of a layer: all weights of all
    tasks that leave it. A group goes to 0 as a whole, or not at all. G. Obozinski, B. Taskar & M.
    Jordan, "Joint covariate selection and joint subspace selection for multiple classification
    problems", Statistics and Computing 20, 2010, https://doi.org/10.1007/s11222-008-9111-x, for
    linear models, whose weights [tasks, inputs] have a column an input. Weights of two and more
    dimensions are tied. Not 0 for equal networks.

    Trap: gradients never reach 0; proximal steps do. They scale a group by max(0, 1 - lr *
    strength / its norm). At a group of zeros the gradient is 0, the sub-gradient of least norm.

    Diagnostics: `groups`, by weight: how many there are, and how many of them are `zero`.

    Args:
        strength, prox: see `Regularizer`.
        group: "input", see above; or "position": the K weights at the same place, so that tasks
            agree on single connections.

    Raises:
        UserError: as `Regularizer`; a group that does not exist.

    """

    name = "block_sparse"
    paper = "Obozinski 2010"
    proximal = True
    tells: ClassVar[dict[str, str]] = {
        "groups": "groups of weights, and how many of them are zero in all tasks"
    }

    def __init__(
        self,
        strength: float = 1e-2,
        prox: bool = False,
        group: Literal["input", "position"] = "input",
    ) -> None:
        super().__init__(strength, prox)
        if group not in GROUPS:
            raise unknown("group", group, GROUPS)
        self.group = group

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """The sum of the groups' norms."""
        return torch.linalg.vector_norm(stack, dim=self._inside(stack)).sum()

    def _proximal(self, stack: Tensor, step: float, tasks: Sequence[str]) -> Tensor:
        norms = torch.linalg.vector_norm(stack, dim=self._inside(stack), keepdim=True)
        kept = (norms - step).clamp(min=0)
        # A group of zeros stays one: 0 / 0 is taken as 0.
        return stack * torch.where(norms > 0, kept / norms, 0)

    def _inside(self, stack: Tensor) -> tuple[int, ...]:
        """The dimensions of the stack [tasks, outputs, inputs, ...] within a group."""
        inputs = min(2, stack.dim() - 1)
        if self.group == "position":
            return (0,)
        return tuple(dim for dim in range(stack.dim()) if dim != inputs)

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """How many groups are zero."""
        found = {}
        for name, stack in stacks.items():
            norms = torch.linalg.vector_norm(stack, dim=self._inside(stack))
            found[name] = {"groups": norms.numel(), "zero": int((norms == 0).sum())}
        return {"groups": found}
