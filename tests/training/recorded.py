"""What tests of recorders share: a restless encoder, a short training, and what it ends with."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from real_tasks import Real
from torch import Tensor, nn

from polytask.training import Callback, Trainer


class Restless(nn.Module):
    """Everything that a look must not disturb: batch norm, dropout, three kinds of chance."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(columns, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3)
        )
        self.output_size = 24

    def forward(self, inputs: Any) -> Tensor:
        x = inputs["x"] if isinstance(inputs, dict) else inputs
        if self.training:
            x = x * (1 + 0.01 * random.random()) + 0.01 * float(np.random.rand())
        return self.layers(x)


class Last(Callback):
    """The random states at the end of the last epoch."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        draws = [random.random(), float(np.random.rand())]
        self.states = [torch.get_rng_state(), torch.tensor(draws, dtype=torch.float64)]


class Killed(Callback):
    """Ends the process, as it were, in the middle of the third epoch."""

    def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict[str, float]) -> None:
        if (trainer.state.epoch, batch_index) == (3, 2):
            raise SystemExit


def trained(
    real: Real, model: nn.Module | None = None, *callbacks: Callback, size: int = 64, **options: Any
) -> Trainer:
    """A short training on the CPU."""
    settings = {"epochs": 4, "lr": 3e-3, "progress": False, "device": "cpu"} | options
    trainer = Trainer(model or real.model(), real.tasks, callbacks=callbacks, **settings)
    trainer.fit(real.batches(size=size), real.batches("val"))
    return trainer


def numbers(rows: Any, size: int) -> np.ndarray:
    """Recorded values, [S, T, T], NaN where not measured."""
    return np.array(rows, dtype=float).reshape(-1, size, size)
