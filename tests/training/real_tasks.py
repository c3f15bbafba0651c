"""Real data for the training tests: scikit-learn's digits and diabetes, as several tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn

from polytask.architectures.hard_sharing import HardSharing
from polytask.data import Batches
from polytask.tasks import Task

Tensors = dict[str, Tensor]


@dataclass
class Real:
    """A data set cut into training, validation and test rows."""

    tasks: dict[str, Task]
    train: tuple[Tensors, Tensors]
    val: tuple[Tensors, Tensors]
    test: tuple[Tensors, Tensors]

    def batches(self, part: str = "train", size: int = 64, shuffle: bool | None = None) -> Batches:
        inputs, targets = getattr(self, part)
        shuffled = part == "train" if shuffle is None else shuffle
        return Batches(inputs, targets, size, shuffle=shuffled, seed=0)

    def model(self, width: int = 32, seed: int = 0, dropout: float = 0.0) -> HardSharing:
        columns = self.train[0]["x"].shape[1]
        torch.manual_seed(seed)
        encoder = nn.Sequential(nn.Linear(columns, width), nn.ReLU(), nn.Dropout(dropout))
        encoder.output_size = width
        return HardSharing(encoder, self.tasks)


def diabetes(missing: float = 0.3) -> Real:
    """442 patients: disease progression, blood pressure (regression) and sex (binary).

    A share of the labels is removed at random. Pressure and sex are inputs in the original.
    """
    data = load_diabetes(scaled=False)
    columns = list(data.feature_names)
    kept = [i for i, name in enumerate(columns) if name not in ("sex", "bp")]
    raw = {
        "progress": data.target,
        "pressure": data.data[:, columns.index("bp")],
        "sex": data.data[:, columns.index("sex")] - 1,
    }
    tasks = [Task("progress", "regression"), Task("pressure", "regression"), Task("sex", "binary")]
    return _cut(data.data[:, kept], raw, tasks, missing)


def digits(missing: float = 0.0, rows: int = 600) -> Real:
    """8x8 digits: which digit (10 classes), odd or even, and how much ink."""
    data = load_digits()
    raw = {
        "digit": data.target[:rows],
        "odd": data.target[:rows] % 2,
        "ink": data.data[:rows].mean(1),
    }
    tasks = [
        Task("digit", "multiclass", classes=tuple(range(10))),
        Task("odd", "binary"),
        Task("ink", "regression", role="auxiliary"),
    ]
    return _cut(data.data[:rows], raw, tasks, missing)


def _cut(x: np.ndarray, raw: dict[str, np.ndarray], tasks: list[Task], missing: float) -> Real:
    draw = np.random.default_rng(0)
    order = draw.permutation(len(x))
    parts = np.split(order, [int(0.6 * len(x)), int(0.8 * len(x))])
    train = parts[0]
    scale = x[train].std(0)
    x = (x - x[train].mean(0)) / np.where(scale > 0, scale, 1)
    targets: Tensors = {}
    named: dict[str, Task] = {}
    for task in tasks:
        values: np.ndarray = np.where(draw.random(len(x)) < missing, np.nan, raw[task.name])
        encoded = task.encode(values)
        named[task.name] = task.fitted(encoded[train])
        targets[task.name] = torch.from_numpy(encoded)
    inputs = torch.tensor(x, dtype=torch.float32)
    pieces = [({"x": inputs[p]}, {name: t[p] for name, t in targets.items()}) for p in parts]
    return Real(named, pieces[0], pieces[1], pieces[2])
