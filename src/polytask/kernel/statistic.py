"""What a method may know of one step: the losses and, if it asks, the gradients' geometry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Statistic:
    """The input of every decision, over the T tasks that are present in this step.

    All of it lives on the host in float64: T² numbers come over in one copy, which is also the
    check for non-finite values, and a decision never synchronises with a device again.
    """

    tasks: tuple[str, ...]
    losses: Tensor
    """Loss values, shape [T], detached."""
    gramian: Tensor | None = None
    """Inner products of the tasks' gradients, shape [T, T]."""
    jacobian: Tensor | None = None
    """One gradient a row, shape [T, n]."""
    row: Tensor | None = None
    """Inner products of one vector (the main or validation gradient) with each gradient, [T]."""
    main: int | None = None
    """Position of the main task, for methods that have one."""
    generator: torch.Generator | None = None
    source: str = "losses"
    """Which statistic the numbers are: losses, features, tail or exact, in words."""

    def __len__(self) -> int:
        return len(self.tasks)

    def need_gramian(self) -> Tensor:
        """The Gramian; a method that declared that it needs one always gets one."""
        assert self.gramian is not None, "the method's statistic_kind must be 'gramian'"
        return self.gramian
