"""The run that reads off a trained network what groups of tasks would gain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.data import Dataset
from polytask.study.relations.runs._trained import trained
from polytask.study.unit import EncoderMaker
from polytask.training import projected_gradient_affinity
from polytask.training._rows import judging_rows

VALUES = 2**19
"""Most numbers that a network answers for one batch: what lies in a processor's cache is computed
in half the time."""
ALL = "all"
"""The key of the network of all tasks in a run's "networks"."""


def surrogate(
    config: Mapping[str, Any],
    dataset: Dataset,
    folder: Path,
    make_encoder: EncoderMaker | None = None,
) -> dict[str, Any]:
    """Follow the network of all tasks in "networks"; the record is under "surrogate".

    "surrogate" in the configuration holds the arguments of
    `polytask.training.projected_gradient_affinity`. Training and validation rows are drawn by the
    run's seed.
    """
    network = trained(config["networks"][ALL], dataset, folder, make_encoder)
    tasks, seed = network.prepared.tasks, config["seed"]
    values = sum(task.output_size * math.prod(task.places) for task in tasks.values())
    least = config["batch_size"]
    size = max(least, min(judging_rows(tasks, least), VALUES // values))
    train, val = (
        network.prepared.batches(part, size, shuffle=True, seed=seed) for part in ("train", "val")
    )
    options = config["surrogate"]
    record = projected_gradient_affinity(network.model, tasks, train, val, seed=seed, **options)
    return {"surrogate": record}
