"""Digits with few labels, teachers of their own for each task, and students to teach."""

from __future__ import annotations

import math
from typing import Any

import torch
from real_tasks import Real, digits
from torch import nn

from polytask.architectures.hard_sharing import HardSharing
from polytask.training import Distillation, Trainer

__all__ = ["Real", "digits", "few_labels", "fit", "same_weights", "teacher", "teachers"]


def few_labels(missing: float = 0.9) -> Real:
    """Digits of which most training labels are missing; validation keeps all of its own."""
    return digits(missing=missing, rows=500)


def teacher(real: Real, task: str, seed: int = 7, width: int = 16) -> HardSharing:
    """A network of one task, not trained."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(real.train[0]["x"].shape[1], width), nn.ReLU())
    encoder.output_size = width
    return HardSharing(encoder, {task: real.tasks[task]})


def teachers(real: Real, epochs: int = 15, width: int = 16) -> dict[str, nn.Module]:
    """Trained single-task networks on all labels of the same rows."""
    whole = digits(missing=0.0, rows=500)
    found: dict[str, nn.Module] = {}
    for task in real.tasks:
        network = teacher(real, task, width=width)
        own = {task: real.tasks[task]}
        targets = {task: whole.train[1][task]}
        Trainer(
            network,
            own,
            epochs=epochs,
            lr=1e-2,
            batch_size=64,
            select=f"main:{task}",
            progress=False,
        ).fit((whole.train[0], targets))
        found[task] = network
    return found


def fit(real: Real, distill: Distillation | None, **options: Any) -> Trainer:
    """A student of width 32 trained on few labels."""
    settings = {"epochs": 3, "lr": 3e-3, "device": "cpu", "select": "mean_rank"}
    data = options.pop("data", None) or (real.batches(), real.batches("val"))
    model = options.pop("model", None) or real.model(dropout=0.2)
    trainer = Trainer(model, real.tasks, distill=distill, progress=False, **{**settings, **options})
    trainer.fit(*data)
    return trainer


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same bits."""
    state, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(state[name], theirs[name]) for name in state | theirs)


def unlabelled(target: torch.Tensor) -> torch.Tensor:
    """A target without any label."""
    return torch.full_like(target, math.nan if target.is_floating_point() else -100)
