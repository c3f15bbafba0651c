"""Networks whose linearisation is known, for the tests of the surrogate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from polytask.data import Batches
from polytask.tasks import Task

Tensors = dict[str, Tensor]


class Linear(nn.Module):
    """Outputs x @ (shared + own of the task), in float64: linear in all its parameters."""

    def __init__(self, tasks: Mapping[str, Task], columns: int, seed: int = 0) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(seed)
        self.shared = nn.Parameter(torch.randn(columns, generator=chance, dtype=torch.float64))
        self.own = nn.ParameterDict(
            {name: torch.randn(columns, generator=chance, dtype=torch.float64) for name in tasks}
        )

    def forward(self, inputs: Tensors) -> Tensors:
        x = inputs["x"]
        return {name: (x @ (self.shared + own))[:, None] for name, own in self.own.items()}


def regressions(
    names: str = "abc", columns: int = 4, rows: int = 60, missing: float = 0.3, seed: int = 0
) -> tuple[dict[str, Task], Tensors, Tensors]:
    """Tasks, inputs and targets (float64, some missing) of linear regressions with noise."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(rows, columns))
    common = chance.normal(size=columns)
    targets = {}
    for name in names:
        y = x @ (common + 0.3 * chance.normal(size=columns)) + 0.5 * chance.normal(size=rows)
        y[chance.random(rows) < missing] = np.nan
        targets[name] = torch.from_numpy(y)
    tasks = {name: Task(name, "regression") for name in names}
    return tasks, {"x": torch.from_numpy(x)}, targets


def halves(inputs: Tensors, targets: Tensors, size: int = 20) -> tuple[Batches, Batches]:
    """The first and the second half of the rows, as batches in order."""
    middle = len(next(iter(targets.values()))) // 2
    first, second = (
        Batches(
            {k: v[part] for k, v in inputs.items()}, {k: v[part] for k, v in targets.items()}, size
        )
        for part in (slice(None, middle), slice(middle, None))
    )
    return first, second
