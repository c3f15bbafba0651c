"""Running mean and spread of one task's targets, and the layer whose output is in their unit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from polytask.tasks import Task
from polytask.training._last_layer import Linear
from polytask.training.popart import PopArt

ROUNDING = 1e-12
"""Labels that differ by no more than this, relative to their mean, are equal."""


class TargetScale:
    """mu and sigma of a task, for each of its outputs; see `PopArt`. All in float64.

    Called as a forward hook of the last layer, it turns what the layer answers into the unit of
    the task. A copy of the network made meanwhile takes a copy of it along.
    """

    def __init__(self, task: Task, popart: PopArt, device: torch.device) -> None:
        self.beta, self.least, self.most = popart.beta, popart.least, popart.most
        self.size = task.size
        wide: dict[str, Any] = {"dtype": torch.float64, "device": device}
        self.offset = torch.tensor(task.mean, **wide).expand(self.size)
        self.unit = torch.tensor(task.std, **wide).expand(self.size)
        at_once = popart.start == "unit"
        self.mean = torch.zeros(self.size, **wide)
        self.variance = torch.full((self.size,), float(at_once), **wide)
        self.seen = torch.full((self.size,), float(at_once), **wide)
        """1 - (1 - beta) ** labels: how much of the averages is made of labels."""
        self.begun = torch.full((self.size,), at_once, device=device)
        """Whether there is a spread; until there is one, sigma is 1 and no layer is rewritten."""

    @property
    def std(self) -> Tensor:
        """sigma, within its bounds."""
        clipped = self.variance.sqrt().clamp(self.least, self.most)
        return torch.where(self.begun, clipped, 1.0)

    def fits(self, target: Tensor) -> bool:
        """Whether a target has a place for each output."""
        return self.size == 1 or (target.dim() > 1 and target.shape[1] == self.size)

    def standardised(self, target: Tensor) -> Tensor:
        """A target in the unit of the network's outputs, float64."""
        offset, unit = self._along(self.offset, target), self._along(self.unit, target)
        return (target.double() - offset) / unit

    def normalised(self, value: Tensor) -> Tensor:
        """(value - mu) / sigma of an output, or of a standardised target."""
        mean, std = self._along(self.mean, value), self._along(self.std, value)
        return ((value.double() - mean) / std).to(value.dtype)

    def observe(self, target: Tensor, layer: Linear) -> None:
        """Move mu and sigma by the labels of a batch, and rewrite the layer.

        A target of a shape that does not fit is left to the loss, which says so.
        """
        if not self.fits(target):
            return
        columns = self.standardised(target)
        columns = (columns.movedim(1, -1) if self.size > 1 else columns).reshape(-1, self.size)
        # An infinite target is told by the loss; it must not reach the weights before.
        known = columns.isfinite()
        columns = torch.where(known, columns, 0.0)
        count = known.sum(0)
        mean = columns.sum(0) / count.clamp(min=1)
        spread = torch.where(known, columns - mean, 0.0).square().sum(0) / count.clamp(min=1)
        share = 1 - (1 - self.beta) ** count.double()
        before, self.seen = (self.mean, self.std, self.begun), share + (1 - share) * self.seen
        rate = torch.where(count > 0, share / self.seen, 0.0)
        # The same as nu - mu ** 2, without losing the digits of a small spread far from 0.
        moved = mean - self.mean
        self.variance = (
            (1 - rate) * self.variance + rate * spread + rate * (1 - rate) * moved.square()
        )
        self.mean = self.mean + rate * moved
        # Beside the mean, so that rounding is no spread.
        self.begun = self.begun | (self.variance > (ROUNDING * self.mean).square())
        self._rewrite(layer, *before)

    def fold(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The layer that answers in the unit of the task by itself."""
        mean, std = self.mean.to(bias.device), self.std.to(bias.device)
        rows = std.reshape(-1, *[1] * (weight.dim() - 1))
        folded = rows * weight.double(), std * bias.double() + mean
        return folded[0].to(weight.dtype), folded[1].to(bias.dtype)

    def unfold(self, layer: Linear) -> None:
        """Make a layer that answers in the unit of the task one that answers in units of sigma."""
        zero, one = torch.zeros_like(self.mean), torch.ones_like(self.mean)
        self._rewrite(layer, zero, one, torch.ones_like(self.begun))

    def in_target_units(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation, one of each an output."""
        return (
            (self.offset + self.unit * self.mean).tolist(),
            (self.unit * self.std).tolist(),
        )

    def outside(self) -> str:
        """`below` or `above` where a spread is outside of its bounds, else nothing."""
        spread = self.variance.sqrt()[self.begun]
        if bool((spread < self.least).any()):
            return "below"
        return "above" if bool((spread > self.most).any()) else ""

    def state_dict(self) -> dict[str, Tensor]:
        """What it has learned."""
        return {w: getattr(self, w) for w in ("mean", "variance", "seen", "begun")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up what was learned."""
        for word, value in state.items():
            setattr(self, word, value.to(self.mean.device))

    def __call__(self, layer: Linear, inputs: Any, output: Tensor) -> Tensor:
        """sigma output + mu, at least in float32; the axis is the last for `nn.Linear`, else 1."""
        wide = torch.promote_types(output.dtype, torch.float32)
        shape = [1] * output.dim()
        shape[-1 if isinstance(layer, nn.Linear) else 1] = self.size
        std, mean = self.std.to(wide).reshape(shape), self.mean.to(wide).reshape(shape)
        return std * output.to(wide) + mean

    @torch.no_grad()
    def _rewrite(self, layer: Linear, mean: Tensor, std: Tensor, rows: Tensor) -> None:
        """Keep what the layer answers in the unit of the task, from another mu and sigma on."""
        weight, bias = layer.weight, layer.bias
        assert bias is not None
        ratio = torch.where(rows, std / self.std, 1.0)
        shift = torch.where(rows, (mean - self.mean) / self.std, 0.0)
        weight.copy_(weight.double() * ratio.reshape(-1, *[1] * (weight.dim() - 1)))
        bias.copy_(bias.double() * ratio + shift)

    def _along(self, statistic: Tensor, value: Tensor) -> Tensor:
        """One number an output, along the second axis of a value; of a single one, the number."""
        if self.size == 1:
            return statistic.reshape(())
        return statistic.reshape(-1, *[1] * (value.dim() - 2))
