"""Encoders and heads that do not fit into an architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures import HardSharing, create_architecture

from .case import Case
from .digits import TASKS, X


class Whole(nn.Module):
    """An encoder that answers whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).long()


def sized(module: nn.Module, width: Any) -> nn.Module:
    module.output_size = width
    return module


def built(case: str, make: Callable[[], Any], says: str) -> Case:
    return Case(case, lambda place: make(), says, door="architecture")


def sharing(case: str, encoder: Any, says: str, **more: Any) -> Case:
    """Hard sharing over this encoder, with the digits as its example."""
    return built(case, lambda: HardSharing(encoder, TASKS, **{"example": X, **more}), says)


TENSOR = "Expected one floating-point tensor || answered a {} || {}"
TRAINABLE = "expected some || found {} || Unfreeze a part of it"

MODULES = [
    sharing(
        "an encoder without a width",
        nn.Linear(64, 8),
        "expected the width || found neither || set encoder.output_size",
        example=None,
    ),
    sharing(
        "an encoder of another width",
        sized(nn.Linear(64, 8), 9),
        "Expected dimension 1 to be 9 || answered a tensor of shape (120, 8) || correct its",
    ),
    sharing(
        "an encoder of width 0",
        sized(nn.Linear(64, 8), 0),
        "a whole number above 0 || found 0 || Set it to the number of channels",
    ),
    sharing("an encoder of a tuple", nn.LSTM(64, 8), TENSOR.format("tuple of 2", "wrap the")),
    sharing(
        "an encoder of a sequence",
        nn.Linear(64, 8),
        "which may be [N, channels || tensor of shape (1, 120, 8) || set encoder.channel_dim",
        example=X[None],
    ),
    sharing(
        "an encoder of whole numbers",
        Whole(),
        TENSOR.format("tensor of shape (120, 8) and type torch.int64", "returns one"),
    ),
    sharing(
        "an encoder that crashes",
        nn.Linear(32, 8),
        "could not read the example batch || (120x64 and 32x8) || Correct the module",
    ),
    sharing(
        "a class for an encoder",
        nn.Linear,
        "must be a torch module || found the class Linear || Build it first",
    ),
    sharing(
        "a function for an encoder",
        torch.relu,
        "must be a torch module || found a builtin_function_or_method || Pass an nn.Module",
    ),
    sharing("an encoder without parameters", nn.Flatten(), TRAINABLE.format("none")),
    sharing(
        "an encoder that is frozen",
        nn.Linear(64, 8).requires_grad_(False),
        TRAINABLE.format("2, all frozen"),
    ),
    sharing(
        "a head of a task that is none",
        nn.Linear(64, 8),
        "Known: digit || 'inc' || did you mean 'ink'?",
        heads={"inc": nn.Linear(8, 1)},
    ),
    sharing(
        "one head for two tasks",
        nn.Linear(64, 8),
        "parameters of its own || shares its parameter 'weight' || a separate module per task",
        heads=dict.fromkeys(("odd", "ink"), nn.Linear(8, 1)),
    ),
    sharing(
        "widths of a head in a text",
        nn.Linear(64, 8),
        "a list of whole numbers || Found '64' || such as (128, 64)",
        head_hidden="64",
    ),
    built(
        "an architecture that does not exist",
        lambda: create_architecture("hard_shering", nn.Linear(64, 8), TASKS),
        "Known: adapters || 'hard_shering' || did you mean 'hard_sharing'?",
    ),
    built(
        "an argument that it lacks",
        lambda: create_architecture("hard_sharing", nn.Linear(64, 8), TASKS, hiden=(8,)),
        "Known: encoder || argument of architecture hard_sharing: 'hiden' || head_hidden",
    ),
]
