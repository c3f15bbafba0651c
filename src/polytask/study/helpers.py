"""Constructed helper tasks in a study: made by recipes, seed by seed, and known before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polytask.auxiliary import Construction, construct, constructed_tasks, create_auxiliary
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.study.settings import Choice, Settings
from polytask.tasks import Task

Splits = Mapping[str, np.ndarray]


def helper_tasks(choices: Sequence[Choice], dataset: Dataset) -> dict[str, Task]:
    """The tasks that these recipes add, by name. Raises `UserError` for what does not fit."""
    return constructed_tasks(_recipes([choice.to_dict() for choice in choices]), dataset)


def with_helpers(
    config: Mapping[str, Any], dataset: Dataset, splits: Splits
) -> tuple[Dataset, dict[str, np.ndarray]]:
    """The data set and the parts of a run whose configuration names recipes ("auxiliary").

    Rows that they add are training rows, mixed with the others by the seed: the first rows, on
    which steps are timed, are then like all.
    """
    recipes = _recipes(config["auxiliary"])
    made, train = construct(recipes, dataset, splits["train"], config["seed"])
    if made.n > dataset.n:
        train = np.random.default_rng([config["seed"], made.n]).permutation(train)
    return made, {**splits, "train": train}


def check_helpers(
    settings: Settings, dataset: Dataset, splits: Sequence[Splits]
) -> tuple[dict[str, dict[str, Any]], float]:
    """Construct them for every seed. Raises `UserError` when one cannot be made or learned.

    Returns what `results.json` says of each task, and by how much they multiply the rows of an
    epoch.
    """
    config = {"auxiliary": [choice.to_dict() for choice in settings.auxiliary]}
    scores: dict[str, list[float | Undefined]] = {}
    tasks: dict[str, Task] = {}
    factor = 1.0
    for seed, parts in enumerate(splits):
        try:
            made, ours = with_helpers({**config, "seed": seed}, dataset, parts)
            tasks = {name: made.tasks[name] for name in made.tasks if name not in dataset.tasks}
            for name, task in tasks.items():
                train, test = (made.targets[name][ours[part]] for part in ("train", "test"))
                task.fitted(train)
                scores.setdefault(name, []).append(task.trivial(train, test))
        except UserError as error:
            raise UserError(f"{error} (training rows of seed {seed})") from error
        factor = len(ours["train"]) / len(parts["train"])
    known = {
        name: {**task_fact(task), "constructed": True, "trivial": _mean(scores[name])}
        for name, task in tasks.items()
    }
    return known, factor


def task_fact(task: Task) -> dict[str, Any]:
    """What the plan and the analysis need to know of a task."""
    return {
        "kind": task.kind,
        "role": task.role,
        "metric": task.primary.name,
        "direction": task.primary.direction,
    }


def _mean(scores: Sequence[float | Undefined]) -> Any:
    """The mean over the seeds, as JSON."""
    for score in scores:
        if isinstance(score, Undefined):
            return score.to_dict()
    return sum(map(float, scores)) / len(scores)


def _recipes(choices: Sequence[Mapping[str, Any]]) -> list[Construction]:
    return [create_auxiliary(choice["name"], **choice["arguments"]) for choice in choices]
