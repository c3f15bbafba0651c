"""Real digits and a network of the user's own, for what is given to the Trainer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from polytask.data import Batches
from polytask.tasks import Task
from polytask.training import Trainer

from .case import Case, Make, Place

Targets = dict[str, Tensor]
TASKS = {
    "digit": Task("digit", "multiclass", classes=tuple(range(10))),
    "odd": Task("odd", "binary"),
    "ink": Task("ink", "regression"),
}
BEGUN = ("run", "run/.lock", "run/config.yaml", "run/environment.json")
"""What a training that had begun leaves: its settings, so that the same call begins anew."""


@cache
def digits() -> tuple[Tensor, Targets]:
    """120 digits of 64 points: which digit, odd or even, how much ink."""
    data = load_digits()
    x = torch.tensor(data.data[:120] / 16, dtype=torch.float32)
    digit = torch.tensor(data.target[:120])
    return x, {"digit": digit, "odd": digit % 2, "ink": x.mean(1) * 10}


X, Y = digits()


class Own(nn.Module):
    """A network of the user's: `answer` makes of the three right outputs what it returns."""

    def __init__(self, answer: Callable[[Targets], Any] = lambda out: out) -> None:
        super().__init__()
        self.trunk = nn.Linear(64, 8)
        self.heads = nn.ModuleDict(
            {"digit": nn.Linear(8, 10), "odd": nn.Linear(8, 1), "ink": nn.Linear(8, 1)}
        )
        self.answer = answer

    def forward(self, x: Any) -> Any:
        """What `answer` makes of the outputs by task."""
        z = self.trunk(x["x"]).relu()
        return self.answer({name: head(z) for name, head in self.heads.items()})


def batches(**changed: Any) -> Batches:
    """Batches with some targets changed (None leaves one out)."""
    kept = {name: changed.get(name, values) for name, values in Y.items()}
    return Batches({"x": X}, {n: v for n, v in kept.items() if v is not None}, 32)


def fit(
    model: Any = None, data: Any = None, tasks: Any = None, val: Any = True, **more: Any
) -> Make:
    """A call that trains for two epochs on the digits, into the folder `run`."""

    def call(place: Place) -> None:
        settings = {"epochs": 2, "progress": False, "out": "run", **more}
        trainer = Trainer(Own() if model is None else model, tasks or TASKS, **settings)
        trainer.fit(batches() if data is None else data, batches() if val is True else val)

    return call


def trainer(case: str, call: Make, says: str, **more: Any) -> Case:
    """A case of the Trainer's door."""
    return Case(case, call, says, door="Trainer", **more)
