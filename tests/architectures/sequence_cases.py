"""What the tests of sequence architectures share: real lines of text, tasks, short training."""

from __future__ import annotations

from typing import Any

import torch
from real_inputs import TEXT, first, text
from torch import Tensor

from polytask import Trainer
from polytask.architectures import Architecture, create_architecture, create_encoder
from polytask.tasks import Task

LONG = Task("long", "binary", places=(12,))
VOWELS = Task("vowels", "multiclass", classes=(0, 1, 2), places=(12,))
ABOUT = Task("about", "multiclass", classes=tuple("abcdef"))
TASKS = (LONG, VOWELS, ABOUT)


def lines(count: int = 40) -> dict[str, Tensor]:
    return first(text()[0], count)


def encoder(seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return create_encoder("transformer", TEXT, **{"width": 16, "heads": 2, **options})


def text_model(name: str, seed: int = 0, tasks: Any = TASKS, **options: Any) -> Architecture:
    """An untrained architecture over a small transformer for the real lines."""
    return create_architecture(name, encoder(seed), tasks, **options)


def trained(model: Architecture, tasks: Any = TASKS, **options: Any) -> Trainer:
    """A trainer that has fitted the model on the lines."""
    inputs, targets = text()
    settings = {"lr": 1e-2, "epochs": 3, "batch_size": 64, "progress": False, **options}
    trainer = Trainer(model, tasks, **settings)
    trainer.fit((inputs, {task.name: targets[task.name] for task in tasks}))
    return trainer


def losses(trainer: Trainer) -> list[float]:
    """The summed training losses of every epoch."""
    names = list(trainer.tasks)
    return [sum(epoch[f"train/{t}/loss"] for t in names) for epoch in trainer.history.epochs]
