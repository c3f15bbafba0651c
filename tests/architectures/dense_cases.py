"""Tasks with a label at every place, from the real digits."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from real_inputs import DIGITS, digits, first
from torch import Tensor
from torch.nn.functional import avg_pool2d

from polytask import Dataset, Task, Trainer
from polytask.architectures import Architecture, create_architecture, create_encoder

INK = 0.25
MISSING = -100
SMALL = {"mlp": {"hidden": (12, 8)}, "resnet": {"width": 4}}


@cache
def dense_digits() -> tuple[Tensor, dict[str, Tensor], dict[str, Task]]:
    """Images [1797, 1, 8, 8], targets and fitted tasks, all but one at every pixel.

    stroke: whether there is ink. glow: the mean of the pixel and its 8 neighbours, missing at the
    border. which: the digit where there is ink, missing elsewhere. even: one label an image.
    """
    inputs, targets = digits()
    image = inputs["image"]
    glow = avg_pool2d(image, 3, 1, 1)
    glow[..., [0, -1], :] = glow[..., [0, -1]] = torch.nan
    ink = image[:, 0] > INK
    wanted = {
        "stroke": ink.long(),
        "glow": glow[:, 0],
        "which": torch.where(ink, targets["digit"][:, None, None], MISSING),
        "even": targets["even"][:, 0].long(),
    }
    tasks = [
        Task("stroke", "binary"),
        Task("glow", "regression"),
        Task("which", "multiclass", classes=tuple(range(10)), metrics=("accuracy",)),
        Task("even", "binary"),
    ]
    return image, wanted, {task.name: task.fitted(wanted[task.name]) for task in tasks}


def dense_tasks(*names: str) -> dict[str, Task]:
    """The fitted tasks of these names; all that are dense by default."""
    tasks = dense_digits()[2]
    return {name: tasks[name] for name in names or ("stroke", "glow", "which")}


def dense_dataset(rows: int) -> Dataset:
    """The first digits with three dense tasks."""
    image, targets, _ = dense_digits()
    tasks = [
        Task("stroke", "binary"),
        Task("glow", "regression"),
        Task("which", "multiclass", classes=tuple(range(10)), metrics=("accuracy",)),
    ]
    return Dataset(
        name="dense digits",
        inputs={"image": image[:rows].numpy()},
        targets={task.name: targets[task.name][:rows].numpy() for task in tasks},
        tasks={task.name: task for task in tasks},
    )


def model_of(name: str, tasks: dict[str, Task], seed: int = 0, **options: Any) -> Architecture:
    """An untrained architecture over a small network for the digits."""
    torch.manual_seed(seed)
    encoder = create_encoder("resnet", DIGITS, width=8)
    example = first(digits()[0], 2)
    if name in ("hard_sharing", "single_task"):
        options.setdefault("head_hidden", ())
    return create_architecture(name, encoder, tasks, example=example, **options)


def trained(model: Architecture, tasks: dict[str, Task], **settings: Any) -> list[float]:
    """The summed training losses of every epoch on the first 480 digits."""
    image, targets, _ = dense_digits()
    settings = {"lr": 5e-3, "epochs": 3, "batch_size": 32, "progress": False} | settings
    part = ({"image": image[:480]}, {name: targets[name][:480] for name in tasks})
    history = Trainer(model, tasks, **settings).fit(part)
    return [sum(record[f"train/{name}/loss"] for name in tasks) for record in history.epochs]
