"""What a method may know of one step: the losses and, if it asks, the gradients' geometry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Statistic:
    """The input of every decision, over the T tasks that are present in this step.

    Everything of size T or T² lives on the host in float64: it comes over in one copy, which
    is also the check for non-finite values, and a decision never synchronises with a device
    again. A Jacobian stays on its device.
    """

    tasks: tuple[str, ...]
    losses: Tensor
    """Loss values, shape [T]."""
    gramian: Tensor | None = None
    """Inner products of the tasks' gradients, shape [T, T]."""
    jacobian: Tensor | None = None
    """One gradient a row, shape [T, n], on the losses' device."""
    sizes: tuple[int, ...] | None = None
    """How many of the Jacobian's columns each parameter (or tensor of the cut) has, in order."""
    cross: Tensor | None = None
    """Inner products of the gradients of one batch (rows) with those of another, [T, T]."""
    row: Tensor | None = None
    """Inner products of one vector (the main or validation gradient) with each gradient, [T]."""
    gains: Tensor | None = None
    """What a virtual step on each task alone wins for the one that is judged by, [T]."""
    cut: list[Tensor] | None = None
    """The shared representation, when the caller passed it."""
    generator: torch.Generator | None = None
    source: str = "losses"
    """Which statistic the numbers are: losses, row, gains, features, tail or exact, in words."""

    def __len__(self) -> int:
        return len(self.tasks)

    def need_gramian(self) -> Tensor:
        """The Gramian; a method that declared that it needs one always gets one."""
        assert self.gramian is not None, "the method's statistic_kind must be 'gramian'"
        return self.gramian

    def need_jacobian(self) -> Tensor:
        """The Jacobian, for methods that declared it."""
        assert self.jacobian is not None, "the method's statistic_kind must be 'jacobian'"
        return self.jacobian

    def need_cross(self) -> Tensor:
        """The cross-Gramian of two batches, for methods that declared it."""
        assert self.cross is not None, "the method's statistic_kind must be 'cross'"
        return self.cross

    def need_row(self) -> Tensor:
        """The inner products with one vector, for methods that declared it."""
        assert self.row is not None, "the method's statistic_kind must be 'row'"
        return self.row

    def need_gains(self) -> Tensor:
        """The gains of virtual steps, for methods that declared them."""
        assert self.gains is not None, "the method's statistic_kind must be 'gains'"
        return self.gains
