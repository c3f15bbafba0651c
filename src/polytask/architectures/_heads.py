"""Heads follow from tasks: one small network per task on top of the representation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from polytask.architectures._checks import positive_ints
from polytask.architectures._init import seeded
from polytask.architectures._layout import Context, pooled
from polytask.architectures._per_task import PerTask
from polytask.architectures._reversal import scaled_gradient
from polytask.errors import UserError, unknown


@dataclass(frozen=True)
class Output:
    """What a head answers: channels, and the sizes of the places it answers for."""

    size: int
    places: tuple[int, ...] = ()
    """() for one answer an item; (L,) or (H, W) for one at every place."""
    reverse: float = 0.0
    """What the head reads gets the task's gradient times -reverse; 0 for the gradient as it is."""


class Head(nn.Module):
    """Hidden layers with ReLU and one linear layer: of the mean over places, or at every place.

    Reads [N, width], [N, width, ...] (`channel_dim` 1) or [N, ..., width] (-1); answers
    [N, output.size] or, where the task has places, [N, output.size, *places]: a map of another
    resolution is resized (bilinear in 2 dimensions); tokens answer for themselves, as many as
    there are. With `output.reverse` the gradient is reversed where the head begins.
    """

    def __init__(
        self, width: int, output: Output, hidden: Sequence[int] = (), channel_dim: int = 1
    ) -> None:
        super().__init__()
        sizes = (width, *hidden)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], output.size))
        self.places = output.places
        self.reverse = output.reverse
        self.channel_dim = channel_dim

    def forward(self, z: Tensor, context: Context | None = None) -> Tensor:
        """Answer [N, output.size, *places]. Raises `UserError` when `z` has no such places."""
        if self.reverse:
            z = scaled_gradient(z, -self.reverse)
        if not self.places:
            output: Tensor = self.layers(pooled(z, self.channel_dim, context))
            return output
        if z.dim() != 2 + len(self.places):
            raise UserError(
                f"a task with a label at every place of {self.places} needs a representation with "
                f"{len(self.places)} axes of places, found shape {tuple(z.shape)}. Use an encoder "
                "that keeps them, or pass heads= that make them."
            )
        last = z if self.channel_dim == -1 else z.movedim(1, -1)
        return resized(self.layers(last).movedim(-1, 1), self.places, self.channel_dim)


def resized(output: Tensor, places: Sequence[int], channel_dim: int = 1) -> Tensor:
    """`output` [N, k, ...] at the resolution of a task; tokens are left as many as they are."""
    if tuple(output.shape[2:]) == tuple(places) or (channel_dim == -1 and len(places) == 1):
        return output
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(places)]
    return interpolate(output, size=tuple(places), mode=mode, align_corners=False)


class Reversed(nn.Module):
    """A head of the user's own, with the gradient reversed where it begins."""

    def __init__(self, head: nn.Module, reverse: float) -> None:
        super().__init__()
        self.head = head
        self.reverse = reverse

    def forward(self, z: Tensor) -> Tensor:
        """What the head answers."""
        output: Tensor = self.head(scaled_gradient(z, -self.reverse))
        return output


class Heads(PerTask):
    """The heads of all tasks; those of the user's own are called with the representation alone."""

    def answer(self, task: str, z: Tensor, context: Context | None = None) -> Tensor:
        """The output of one task."""
        head = self[task]
        output: Tensor = head(z, context) if isinstance(head, Head) else head(z)
        return output


def build_heads(
    outputs: Mapping[str, Output],
    width: int | Mapping[str, int],
    like: nn.Module,
    *,
    hidden: Sequence[int] = (),
    given: Mapping[str, nn.Module] | None = None,
    seed: int,
    channel_dim: int = 1,
) -> Heads:
    """One head per task, on the device and in the dtype of the encoder `like`.

    `width` is what heads read, for all tasks or by task. `given` replaces the default head of the
    tasks it names; the gradient is reversed there too where a task asks for it. Raises `UserError`
    for a task it names that does not exist, and for a given head that shares parameters with
    another head or with the encoder: a task's loss would then train another task's head.
    """
    hidden = positive_ints("head_hidden", hidden, may_be_empty=True)
    given = dict(given or {})
    for task in given:
        if task not in outputs:
            raise unknown("task in heads:", task, outputs)
    _check_separate(like, given)
    heads: dict[str, nn.Module] = {}
    for task, output in outputs.items():
        if task in given:
            own = given[task]
            heads[task] = Reversed(own, output.reverse) if output.reverse else own
        else:
            reads = width if isinstance(width, int) else width[task]
            # On the CPU first, so that the seeded stream decides whatever the default device.
            with seeded(seed, task), torch.device("cpu"):
                head = Head(reads, output, hidden, channel_dim)
            heads[task] = as_new(head, like)
    return Heads(heads)


def as_new(module: nn.Module, like: nn.Module) -> Any:
    """`module` on the device and in the dtype of the parameters of `like`."""
    first = next(p for p in like.parameters() if p.is_floating_point())
    return module.to(device=first.device, dtype=first.dtype)


def _check_separate(encoder: nn.Module, given: Mapping[str, nn.Module]) -> None:
    """Raise `UserError` if two of these modules have a parameter in common."""
    owner = {id(parameter): "the encoder" for parameter in encoder.parameters()}
    for task, head in given.items():
        if not isinstance(head, nn.Module):
            raise UserError(f"heads[{task!r}] must be a torch module, found {head!r}.")
        for name, parameter in head.named_parameters():
            first = owner.setdefault(id(parameter), f"the head of {task!r}")
            if first != f"the head of {task!r}":
                raise UserError(
                    f"the head of {task!r} shares its parameter {name!r} with {first}. Expected "
                    "every head to have parameters of its own: pass a separate module per task, "
                    "and move what tasks share into the encoder."
                )
