"""How far an optimizer moves each number of a parameter for one unit of its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from polytask.errors import UserError

FEWEST_STEPS = 3
"""Steps behind second moments from which 1 / root is of finite variance for normal gradients."""


class StepSizes:
    """The diagonal P of an optimizer's step, its learning rate included: g moves θ by -P g.

    For Adam and AdamW (Kingma and Ba 2015, arXiv:1412.6980) P = lr / (sqrt(v̂) + eps) with the
    second moments v̂ corrected for their start at 0; for RMSprop the same without correction; for
    SGD P = lr. v̂ is that of the optimizer's state as it stands, so P does not depend on the
    batch at hand. A number that never had a gradient (v = 0) counts as not moved, for the
    optimizer would divide by eps there, if not for the very gradient that it is about to see.

    It is the part of one gradient alone: left out are momentum (what earlier gradients add, the
    same for every task, and what this one adds to later steps), weight decay (the same for every
    task) and clipping. Every group of parameters has its own learning rate; parameters that the
    optimizer does not hold are not moved.

    An optimizer of another kind counts as one without second moments, see `remark`.

    Args:
        optimizer: at any moment of the training; its state is read and not changed.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._groups = {p: group for group in optimizer.param_groups for p in group["params"]}
        self.name = type(optimizer).__name__

    @property
    def words(self) -> str:
        """Optimizer and preconditioner in words: 'AdamW with its second moments'."""
        if isinstance(self._optimizer, Adam | AdamW | RMSprop):
            return f"{self.name} with its second moments"
        momentum = any(group.get("momentum") for group in self._optimizer.param_groups)
        return f"{self.name}, momentum left out" if momentum else self.name

    @property
    def remark(self) -> str | None:
        """What a reader must know of an optimizer whose state is not understood."""
        if isinstance(self._optimizer, Adam | AdamW | RMSprop | SGD):
            return None
        return (
            f"The steps of {self.name} were taken to be the learning rate times the gradient: its "
            "state is not one of Adam, AdamW or RMSprop."
        )

    def __call__(self, parameter: Tensor) -> Tensor:
        """P of one parameter, a tensor of its shape.

        Raises `UserError` where second moments are of fewer than 3 steps: they are noise.
        """
        group = self._groups.get(parameter)
        wide = torch.promote_types(parameter.dtype, torch.float32)
        if group is None:
            return torch.zeros_like(parameter, dtype=wide)
        rate = float(group["lr"])
        state = self._optimizer.state.get(parameter, {})
        if isinstance(self._optimizer, Adam | AdamW):
            self._check(state)
            return rate * _adam(group, state).to(wide)
        if isinstance(self._optimizer, RMSprop):
            self._check(state)
            return rate * _rmsprop(group, state).to(wide)
        return torch.full_like(parameter, rate, dtype=wide)

    def _check(self, state: Mapping[str, Any]) -> None:
        if float(state.get("step", 0)) < FEWEST_STEPS:
            raise UserError(
                f"second moments of {self.name} were of fewer than {FEWEST_STEPS} steps"
            )


def _adam(group: Mapping[str, Any], state: Mapping[str, Any]) -> Tensor:
    second: Tensor = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
    correction = 1 - group["betas"][1] ** float(state["step"])
    return _inverse(second / correction, second, group["eps"])


def _rmsprop(group: Mapping[str, Any], state: Mapping[str, Any]) -> Tensor:
    second: Tensor = state["square_avg"]
    if not group["centered"]:
        return _inverse(second, second, group["eps"])
    return _inverse((second - state["grad_avg"] ** 2).clamp_min(0), second, group["eps"])


def _inverse(squares: Tensor, second: Tensor, eps: float) -> Tensor:
    """1 / (root + eps), and 0 where there never was a gradient."""
    return torch.where(second > 0, 1 / (squares.sqrt() + eps), 0.0)
