"""Derivatives of a network's answers along random directions of its parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from polytask.errors import UserError
from polytask.kernel.shift import unnoticed
from polytask.tasks import Task
from polytask.training._forward import Forward
from polytask.training._precision import Precision

Outputs = dict[str, Tensor]
STEP = 1e-3
"""Of differences, as a share of the length of the parameters that are moved."""


class Users(NamedTuple):
    """Names of parameters by who uses them."""

    shared: tuple[str, ...]
    """Used by two tasks or more."""
    own: tuple[str, ...]
    """Used by exactly one task."""


class Answers(nn.Module):
    """A network in evaluation mode whose parameters can be replaced for a call.

    Answers are checked as those of any model that is trained. Use it within `still`.
    """

    def __init__(self, model: nn.Module, tasks: Mapping[str, Task]) -> None:
        super().__init__()
        self.model = model
        first = next(model.parameters(), None)
        self.device = torch.device("cpu") if first is None else first.device
        self._read = Forward(model, tasks, Precision("no", self.device))
        self.trained = {n: p for n, p in self.named_parameters() if p.requires_grad}

    def forward(self, inputs: Any) -> Outputs:
        """Outputs by task."""
        return self._read(inputs)[0]

    def users(self, inputs: Any) -> Users:
        """Which trained parameters two tasks or more use, and which one alone does.

        As the gradients of every task's outputs tell; one backward pass a task.
        """
        with torch.enable_grad():
            outputs = self(inputs)
        counts = dict.fromkeys(self.trained, 0)
        parameters = list(self.trained.values())
        for output in outputs.values():
            if output.requires_grad:
                found = torch.autograd.grad(
                    output.sum(), parameters, retain_graph=True, allow_unused=True
                )
                for name, gradient in zip(counts, found, strict=True):
                    counts[name] += gradient is not None
        return Users(
            tuple(name for name, number in counts.items() if number > 1),
            tuple(name for name, number in counts.items() if number == 1),
        )

    def direction(self, names: tuple[str, ...], number: int, of: int, seed: int) -> Outputs:
        """Direction `number` of `of`: random signs over sqrt(of), for the parameters named.

        Products of two gradients' derivatives along all of them are the product of the
        gradients on average (Johnson and Lindenstrauss).
        """
        chance = torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
        tangent = {}
        for name in names:
            like = self.trained[name]
            signs = torch.randint(0, 2, like.shape, generator=chance, dtype=torch.int8)
            tangent[name] = (signs.to(like) * 2 - 1) / math.sqrt(of)
        return tangent

    def forward_mode(self, inputs: Any, tangent: Mapping[str, Tensor]) -> Outputs:
        """The derivatives of all outputs along one direction, by forward-mode differentiation.

        Raises `RuntimeError` or `NotImplementedError` where an operation has no such derivative.
        """
        with torch.no_grad(), forward_ad.dual_level():
            moved = {
                name: _dual(self.trained[name].detach(), along) for name, along in tangent.items()
            }
            # The fused kernels of attention have no forward derivative.
            with sdpa_kernel(SDPBackend.MATH):
                outputs: Outputs = functional_call(self, moved, (inputs,))
            found = {}
            for task, output in outputs.items():
                along = forward_ad.unpack_dual(output).tangent
                found[task] = torch.zeros_like(output) if along is None else along
            return found

    def differences(
        self, inputs: Any, tangent: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
    ) -> Outputs:
        """About the same from `outputs` and those a small step along: one pass, two digits."""
        step = self._step(tangent)
        with torch.no_grad():
            moved = {n: self.trained[n].detach() + step * t for n, t in tangent.items()}
            ahead: Outputs = functional_call(self, moved, (inputs,))
            return {task: (ahead[task] - outputs[task]) / step for task in ahead}

    def _step(self, tangent: Mapping[str, Tensor]) -> float:
        """How far to go along a direction: a thousandth of the parameters' size."""
        with torch.no_grad():
            along = math.sqrt(sum(float(t.square().sum()) for t in tangent.values()))
            size = math.sqrt(sum(float(self.trained[n].square().sum()) for n in tangent))
        return STEP * (size or 1.0) / along

    def supports_forward_mode(self, inputs: Any, users: Users) -> bool:
        """Whether forward mode works for this network; tried along one direction.

        It must agree with differences: an operation that silently loses the derivative does not.
        """
        tangent = self.direction(users.shared, 0, 1, 0)
        try:
            found = self.forward_mode(inputs, tangent)
        except (RuntimeError, NotImplementedError):
            return False
        with torch.no_grad():
            outputs = self(inputs)
        near, step = self.differences(inputs, tangent, outputs), self._step(tangent)
        for task, output in outputs.items():
            rounding = 10 * torch.finfo(output.dtype).eps * float(output.norm()) / step
            off = float((found[task] - near[task]).norm())
            if off > 0.1 * max(float(found[task].norm()), float(near[task].norm())) + rounding:
                return False
        return True


def _dual(value: Tensor, along: Tensor) -> Tensor:
    """A value that carries its derivative along."""
    with warnings.catch_warnings():
        # Torch compiles rules of its own at the first use, in a way that it has deprecated.
        warnings.filterwarnings("ignore", message="`torch.jit.* is deprecated")
        made: Tensor = forward_ad.make_dual(value, along)
        return made


@contextmanager
def still(answers: Answers) -> Iterator[None]:
    """Evaluation mode inside; modes, buffers and random states are as before afterwards."""
    modes = {module: module.training for module in answers.model.modules()}
    answers.eval()
    try:
        with unnoticed(list(answers.parameters()), answers):
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def check_shared(users: Users) -> None:
    """Raise `UserError` when there is nothing that two tasks share."""
    if not users.shared:
        raise UserError(
            "the network has no trained parameter that two tasks use, so that no task can gain "
            "from another in it. Take a network that shares something, such as hard_sharing."
        )
