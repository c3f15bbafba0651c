"""What the tests of shared trunks have in common: encoders of several layouts, real training."""

from __future__ import annotations

import copy
from typing import Any

import torch
from real_inputs import DIGITS, digits
from torch import Tensor, nn

from polytask import Trainer
from polytask.architectures import Architecture, Staged, create_architecture, create_encoder
from polytask.tasks import Task

DIGIT_TASKS = [
    Task("digit", "multiclass", classes=tuple(range(10))),
    Task("even", "binary"),
    Task("ink", "regression"),
]


class RowsAsTokens(nn.Module):
    """The rows of an image as tokens, [N, H, W], with padding where a row is empty."""

    def forward(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = image[:, 0]
        return tokens, {"mask": torch.ones(tokens.shape[:2], dtype=torch.bool)}


class Block(nn.Module):
    """A stage of tokens that reads the context."""

    takes_context = True

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layer = nn.Linear(before, after)

    def forward(self, h: Tensor, context: dict[str, Tensor]) -> Tensor:
        answer: Tensor = torch.tanh(self.layer(h)) * context["mask"][..., None]
        return answer


def tokens() -> Staged:
    """Three stages over tokens, a norm with parameters at the exit."""
    stages = [Block(8, 12), Block(12, 10), Block(10, 12)]
    widths = (12, 10, 12)
    encoder = Staged(stages, RowsAsTokens(), nn.LayerNorm(12), channel_dim=-1, widths=widths)
    encoder.output_size = 12
    return encoder


def flattening() -> Staged:
    """Maps that shrink, then rows: [N, 4, 6, 6], [N, 6, 2, 2], [N, 10]; batch norm inside."""
    return Staged(
        [
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(24, 10), nn.ReLU()),
        ],
        widths=(4, 6, 10),
    )


def images(count: int = 32) -> Tensor:
    return digits()[0]["image"][:count]


def digit_model(name: str, seed: int = 0, **options: Any) -> Architecture:
    """An untrained architecture over a small network for the real digits."""
    torch.manual_seed(seed)
    encoder = create_encoder("resnet", DIGITS, width=4)
    return create_architecture(name, encoder, DIGIT_TASKS, example=images(2), **options)


def trained(model: Architecture, **settings: Any) -> list[float]:
    """The summed training losses of every epoch on the real digits."""
    inputs, targets = digits()
    settings = {"lr": 1e-2, "epochs": 4, "batch_size": 64, "progress": False} | settings
    labels = targets | {"even": targets["even"][:, 0].long()}
    part = ({"image": inputs["image"][:700]}, {task: y[:700] for task, y in labels.items()})
    history = Trainer(model, DIGIT_TASKS, **settings).fit(part)
    names = [task.name for task in DIGIT_TASKS]
    return [sum(record[f"train/{name}/loss"] for name in names) for record in history.epochs]


def same_after_loading(model: Architecture, other: Architecture) -> bool:
    """Whether `other`, built under another seed, answers as `model` once it has its state."""
    x = images()
    before, expected = other.eval()(x), model.eval()(x)
    assert not any(before[t].equal(expected[t]) for t in expected), "the same to begin with"
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    after = other(x)
    return all(after[t].equal(expected[t]) for t in expected)
