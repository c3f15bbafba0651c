"""scikit-learn's digits as two data sets of very different size, with different rows and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from polytask.architectures.hard_sharing import HardSharing
from polytask.data import InTurn, Mixture
from polytask.tasks import Task
from polytask.training import Callback, Trainer

TARGETS = {"targets": {"digit": 0.95, "odd": 0.9}}
"""What single-task training might reach."""
Pair = tuple[dict[str, Tensor], dict[str, Tensor]]
TASKS = {
    "digit": Task("digit", "multiclass", classes=tuple(range(10))),
    "odd": Task("odd", "binary", metrics=("accuracy",)),
}


def halves(large: int = 1000, small: int = 10) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """Training and validation rows: which digit, of many images; odd or even, of few others."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    x = torch.tensor(data.data[order] / 16, dtype=torch.float32)
    y = torch.tensor(data.target[order])
    labels = {"digit": y, "odd": y % 2}

    def cut(task: str, low: int, high: int) -> Pair:
        return {"x": x[low:high]}, {task: labels[task][low:high]}

    train = {"digit": cut("digit", 0, large), "odd": cut("odd", 1000, 1000 + small)}
    val = {task: cut(task, 1200, 1500) for task in TASKS}
    return train, val


def mixture(schedule: Any = "proportional", **options: Any) -> Mixture:
    """The training rows, mixed."""
    return Mixture(halves()[0], schedule, **{"batch_size": 50, **options})


def validation() -> InTurn:
    """The validation rows."""
    return InTurn(halves()[1])


def network(seed: int = 0, dropout: float = 0.1) -> HardSharing:
    """The same network every time."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout))
    encoder.output_size = 32
    return HardSharing(encoder, TASKS)


def fit(train: Any, out: Path | None = None, *callbacks: Callback, **options: Any) -> Trainer:
    words = {"epochs": 3, "lr": 1e-2, "select": "mean_rank", "checkpoint_every": 0.0, **options}
    trainer = Trainer(network(), TASKS, out=out, progress=False, callbacks=callbacks, **words)
    trainer.fit(train, validation())
    return trainer


def result(trainer: Trainer) -> tuple[list[bytes], list[dict[str, Any]], list[str]]:
    """All that a fit leaves, without its times."""
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history.epochs]
    weights = [p.detach().numpy().tobytes() for p in trainer.model.parameters()]
    return weights, records, trainer.history.remarks
