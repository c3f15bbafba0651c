"""The tensor-normal prior of multilinear relationship networks on one weight of K networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polytask.errors import UserError
from polytask.optimization.regularization._terms import unfolded

NAMES = ("tasks", "outputs", "inputs")


class TensorNormal(nn.Module):
    """A covariance for some modes of a stack [K, outputs, inputs]; the identity for the others.

    Covariances are kept at trace d (mean variance 1), so that the scale of the term is that of
    its strength: of a Kronecker product only the product of the scales is determined.
    """

    def __init__(self, shape: Sequence[int], modes: Sequence[int], epsilon: float) -> None:
        super().__init__()
        self.modes = tuple(modes)
        self.epsilon = epsilon
        for mode in self.modes:
            self.register_buffer(f"covariance_{mode}", torch.eye(shape[mode]))
            self.register_buffer(f"precision_{mode}", torch.eye(shape[mode]))

    def covariance(self, mode: int) -> Tensor:
        """The covariance of a mode: 0 tasks, 1 outputs, 2 inputs."""
        return self.get_buffer(f"covariance_{mode}")

    def forward(self, stack: Tensor) -> Tensor:
        """vec(W)^T (S_0 x S_1 x S_2)^-1 vec(W), as a product along every mode."""
        self._check(stack)
        return (stack * self._whitened(stack, self.modes)).sum()

    @torch.no_grad()
    def update(self, stack: Tensor) -> None:
        """One round of flip-flop: each covariance from the weights, given those of the others."""
        stack = stack.double()
        for mode in self.modes:
            others = [other for other in self.modes if other != mode]
            rows, whitened = unfolded(stack, mode), unfolded(self._whitened(stack, others), mode)
            found = rows @ whitened.T / rows.shape[1]
            self._set(mode, (found + found.T) / 2)

    @torch.no_grad()
    def keep_tasks(self, indices: Sequence[int]) -> None:
        """The prior of these tasks alone."""
        chosen = torch.tensor(indices, device=self.covariance(0).device)
        covariance = self.covariance(0)[chosen][:, chosen]
        self.covariance_0 = covariance
        self.precision_0 = _inverse(covariance.double()).to(covariance.dtype)

    @torch.no_grad()
    def take_tasks(self, indices: Sequence[int], smaller: TensorNormal) -> None:
        """The task covariance of `smaller` at these places; others keep what they have there."""
        chosen = torch.tensor(indices, device=self.covariance(0).device)
        for matrix in ("covariance_0", "precision_0"):
            self.get_buffer(matrix)[chosen[:, None], chosen] = smaller.get_buffer(matrix)

    def _check(self, stack: Tensor) -> None:
        """Raise `UserError` for a weight of another size than that it was prepared for."""
        for mode in self.modes:
            size = len(self.covariance(mode))
            if stack.shape[mode] != size:
                raise UserError(
                    f"mrn was prepared for {size} {NAMES[mode]} of this weight, found "
                    f"{stack.shape[mode]}. Prepare it for the weights as they are."
                )

    def _whitened(self, stack: Tensor, modes: Sequence[int]) -> Tensor:
        for mode in modes:
            precision = self.get_buffer(f"precision_{mode}").to(stack.dtype)
            stack = torch.tensordot(precision, stack.movedim(mode, 0), dims=1).movedim(0, mode)
        return stack

    def _set(self, mode: int, found: Tensor) -> None:
        size = len(found)
        trace = found.diagonal().sum()
        if not bool(trace > 0):  # weights that are all 0 say nothing
            return
        floor = self.epsilon * torch.eye(size, dtype=found.dtype, device=found.device)
        covariance = (found * (size / trace) + floor) / (1 + self.epsilon)
        for name, value in (("covariance", covariance), ("precision", _inverse(covariance))):
            self.get_buffer(f"{name}_{mode}").copy_(value)


def _inverse(covariance: Tensor) -> Tensor:
    inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
    return inverse
