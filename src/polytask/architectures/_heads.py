"""Heads follow from tasks: one small network per task on top of the representation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from polytask.architectures._checks import positive_ints
from polytask.architectures._init import seeded
from polytask.architectures._per_task import PerTask
from polytask.errors import UserError, unknown


class Head(nn.Module):
    """Global average pooling of what has places, hidden layers with ReLU, one linear layer.

    Reads [N, width] or [N, width, H, W, ...], answers [N, output_size].
    """

    def __init__(self, width: int, output_size: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        sizes = (width, *hidden)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], output_size))

    def forward(self, z: Tensor) -> Tensor:
        """Answer [N, output_size]."""
        pooled = z.flatten(2).mean(dim=2) if z.dim() > 2 else z
        output: Tensor = self.layers(pooled)
        return output


def build_heads(
    output_sizes: Mapping[str, int],
    width: int,
    encoder: nn.Module,
    *,
    hidden: Sequence[int],
    given: Mapping[str, nn.Module] | None,
    seed: int,
) -> PerTask:
    """One head per task, on the encoder's device and in its dtype.

    `given` replaces the default head of the tasks it names. Raises `UserError` for a task it
    names that does not exist, and for a given head that shares parameters with another head
    or with the encoder: a task's loss would then train another task's head.
    """
    hidden = positive_ints("head_hidden", hidden, may_be_empty=True)
    given = dict(given or {})
    for task in given:
        if task not in output_sizes:
            raise unknown("task in heads:", task, output_sizes)
    _check_separate(encoder, given)
    like = next(p for p in encoder.parameters() if p.is_floating_point())
    heads: dict[str, nn.Module] = {}
    for task, size in output_sizes.items():
        if task in given:
            heads[task] = given[task]
        else:
            # On the CPU first, so that the seeded stream decides whatever the default device.
            with seeded(seed, task), torch.device("cpu"):
                head = Head(width, size, hidden)
            heads[task] = head.to(device=like.device, dtype=like.dtype)
    return PerTask(heads)


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
