"""What a study of several data sets knows of each of them, and what it must remark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polytask.data.sources import name_of, tasks_of
from polytask.report.numbers import plural
from polytask.report.words import listing
from polytask.study.folder import Outcome
from polytask.study.joined import Joined
from polytask.study.plan import LITMUS, Plan

Splits = Mapping[str, np.ndarray]


def set_facts(
    dataset: Joined, splits: Sequence[Splits], fingerprints: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One entry for each data set: what it was read from, its tasks, and its rows by part.

    Rows are those of seed 0, and "labels" those of its training rows (of places, where a row has
    several). "left_out" counts rows in no part, as another data set is judged on the same;
    "redrawn" is n_test / n_train where every seed draws its own test part, else 0.
    `splits` are those of all seeds, as rows of all data sets together.
    """
    found, low = [], 0
    for key, data in dataset.sets.sets.items():
        within = [_within(parts, low, low + data.n) for parts in splits]
        train = within[0]["train"] - low
        low += data.n
        rows = {part: len(numbers) for part, numbers in within[0].items()}
        redrawn = any(not np.array_equal(w["test"], within[0]["test"]) for w in within)
        found.append(
            {
                "name": name_of(key),
                "data": data.name,
                "tasks": list(tasks_of(key)),
                "n": data.n,
                "rows": rows,
                "labels": {
                    name: int(task.labelled(data.targets[name][train]).sum())
                    for name, task in data.tasks.items()
                },
                "left_out": data.n - sum(rows.values()) if dataset.same is not None else 0,
                "fingerprint": fingerprints[name_of(key)],
                "redrawn": rows["test"] / rows["train"] if redrawn else 0.0,
            }
        )
    return found


def own_labelled(dataset: Joined) -> dict[str, float]:
    """The share of the rows of its own data set that have a label, by task."""
    return {
        task: count / sum(data.n for data in dataset.sets.sets.values() if task in data.tasks)
        for task, count in dataset.labelled().items()
    }


def set_remarks(
    plan: Plan, results: Mapping[str, Any], chosen: Sequence[Outcome | None]
) -> list[str]:
    """What a reader must know of a study of several data sets; nothing of one.

    `chosen` are the runs of the chosen candidate by seed; None where there is none.
    """
    mixed = plan.settings.mixed
    if mixed is None:
        return []
    said = []
    if mixed.alone:
        said.append(
            f"Every step has one task, so there is nothing to balance, and {LITMUS.name} is left "
            "out: its weights would be equal ones. Methods are compared with tasks_per_step of 2 "
            "or more."
        )
    sets = results["dataset"].get("sets", [])
    if cut := [f"{each['left_out']:,} rows of {each['name']}" for each in sets if each["left_out"]]:
        said.append(
            f"{listing(cut)} are left out of training and validation (in seed 0): another data set "
            "is judged on the same rows."
        )
    if plan.settings.split.partition(":")[0] == "time":
        said.append(
            "Every data set has its own last rows as test, so training rows of one may be later "
            "than test rows of another."
        )
    ended = [run["selected"]["epoch"] for run in chosen if run]
    last = ended.count(plan.settings.epochs)
    if 2 * last > len(ended):
        said.append(
            f"The chosen network was still getting better: in {last} of "
            f"{plural(len(ended), 'seed')} its last epoch was its best. It shares its steps among "
            "the tasks, and a separate network has as many for one; with more epochs it may do "
            "better."
        )
    return said


def _within(parts: Splits, low: int, high: int) -> dict[str, np.ndarray]:
    return {part: rows[(rows >= low) & (rows < high)] for part, rows in parts.items()}
