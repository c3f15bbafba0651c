"""Small problems on which look-aheads are recorded, and the ways of recording them."""

import torch
from torch import nn

from polytask.data import Batches
from polytask.tasks import Task
from polytask.training import Callback, Trainer

WAYS = {
    "first, tail": {},
    "first, exact": {"statistic": "exact"},
    "exact, same": {"order": "exact"},
    "exact, other": {"order": "exact", "evaluate": "other"},
}


class Shared(nn.Module):
    """Every task reads the same linear output of one parameter."""

    def __init__(self, columns, names):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(columns, dtype=torch.float64))
        self.names = names

    def forward(self, inputs):
        return dict.fromkeys(self.names, inputs["x"] @ self.theta)


def quadratics(seed=0, rows=40, columns=5):
    """Inputs, and targets of three regressions: the second is the first, the third another."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=draw, dtype=torch.float64)
    first, other = torch.randn(2, rows, generator=draw, dtype=torch.float64)
    return x, {"a": first, "twin": first, "b": other}


def watched(recorder, model, tasks, data, size, **options):
    """A training with the parameter before every recorded step."""
    thetas = []

    class Watch(Callback):
        def on_batch_begin(self, trainer, batch_index):
            thetas.append(trainer.model.theta.detach().clone())

    settings = {"epochs": 12, "optimizer": "sgd", "lr": 0.02, "device": "cpu", "progress": False}
    trainer = Trainer(model, tasks, callbacks=[Watch(), recorder], **(settings | options))
    trainer.fit(Batches(*data, size))
    return recorder.record(), [thetas[step] for step in recorder.record()["steps"]]


def plain_tasks(names):
    return [Task(name, "regression") for name in names]
