"""What the tests of learned architectures have in common: encoders, tasks, real training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from real_inputs import TABLE, Output, digits, wine
from torch import Tensor, nn

from polytask import Trainer
from polytask.architectures import Architecture, Staged, create_encoder
from polytask.tasks import Task

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
DIGIT_TASKS = [
    Task("digit", "multiclass", classes=tuple(range(10))),
    Task("even", "binary"),
    Task("ink", "regression"),
]


def table(*hidden: int) -> nn.Module:
    """A network for the wines; two equal widths make a stage that keeps the shape."""
    return create_encoder("mlp", TABLE, hidden=hidden or (12, 12, 12))


def wines(count: int = 16) -> dict[str, Tensor]:
    return {name: value[:count] for name, value in wine()[0].items()}


def images(count: int = 24) -> Tensor:
    return digits()[0]["image"][:count]


class RowsAsTokens(nn.Module):
    """The rows of an image as tokens [N, 8, 8]; those without ink are padding."""

    def forward(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = image[:, 0]
        return tokens, {"mask": tokens.sum(dim=-1) > 0}


class Masked(nn.Module):
    """A stage of tokens that reads the context."""

    takes_context = True

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layer = nn.Linear(before, after)

    def forward(self, h: Tensor, context: Mapping[str, Tensor]) -> Tensor:
        answer: Tensor = torch.tanh(self.layer(h)) * context["mask"][..., None]
        return answer


def tokens() -> Staged:
    """Three stages over tokens, the last two of one shape; the exit has parameters."""
    stages = [Masked(8, 10), Masked(10, 10), Masked(10, 10)]
    encoder = Staged(stages, RowsAsTokens(), nn.LayerNorm(10), channel_dim=-1, widths=(10, 10, 10))
    encoder.output_size = 10
    return encoder


def halving() -> Staged:
    """Declares widths that do not say that its second stage halves the map."""
    stages = [nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)]
    return Staged(stages, widths=(4, 4))


def trained(model: Architecture, epochs: int = 4, lr: float = 1e-2, **options: Any) -> list[float]:
    """The summed training losses of every epoch on the real digits."""
    inputs, targets = digits()
    trainer = Trainer(
        model, DIGIT_TASKS, lr=lr, epochs=epochs, batch_size=64, progress=False, **options
    )
    labels = targets | {"even": targets["even"][:, 0].long()}
    history = trainer.fit(
        ({"image": inputs["image"][:900]}, {t: y[:900] for t, y in labels.items()})
    )
    names = [task.name for task in DIGIT_TASKS]
    return [sum(record[f"train/{name}/loss"] for name in names) for record in history.epochs]


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return list(first) == list(second) and all(v.equal(second[k]) for k, v in first.items())


def reloaded(model: Architecture, other: Architecture, x: Any) -> bool:
    """Whether `other`, different before, answers as `model` once it has its state."""
    assert not equal(other.eval()(x), model.eval()(x)), "the same to begin with"
    other.load_state_dict(model.state_dict())
    return equal(other(x), model(x))
