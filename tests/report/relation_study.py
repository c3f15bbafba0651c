"""A made-up study of task relationships, as `results.json` has it: 7 tasks, or as many as asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polytask.relationships import group_tasks

Study = dict[str, Any]
TASKS = ("income", "rent", "age", "health", "smoker", "commute", "night work")


def make_affinity(
    tasks: Sequence[str], size: float = 0.02, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Two kinds of tasks that help each other within, not across; no two numbers are equal."""
    draw = np.random.default_rng(seed)
    return {
        a: {
            b: float(size * ((1 if (i + j) % 2 == 0 else -0.6) + 0.4 * draw.standard_normal()))
            for j, b in enumerate(tasks)
            if a != b
        }
        for i, a in enumerate(tasks)
    }


def table_of(tasks: Sequence[str], found: Any, error: float | None) -> Study:
    values = [[found[a].get(b) for b in tasks] for a in tasks]
    errors = None
    if error is not None:
        errors = [[None if v is None else error for v in row] for row in values]
    return {"tasks": list(tasks), "values": values, "standard_errors": errors, "measured": "so"}


def make_estimator(
    tasks: Sequence[str], name: str, found: Any, *, decides: bool, error: float | None, most: int
) -> Study:
    grouping = group_tasks(found, most, alone=0.0)
    return {
        "name": name, "label": name, "needs": f"what {name} needs", "unit": f"unit of {name}",
        "gains": True, "decides": decides, "affinity": table_of(tasks, found, error),
        "grouping": {
            "groups": [list(group) for group in grouping.groups],
            "assignment": {task: list(group) for task, group in grouping.assignment.items()},
            "score": grouping.score, "values": dict(grouping.values), "gap": grouping.gap,
        },
        "cost": {"runs": 0 if decides else 28, "seconds": 3.5, "trainings": 1.25},
        "agreement": {"spearman": 0.71, "low": 0.42, "high": 0.88, "pairs": 42},
        "grouping_worth": 1.25,
    }  # fmt: skip


def arrangement(
    tasks: Sequence[str], which: str, name: str, groups: Sequence[Sequence[str]], level: float
) -> Study:
    """Gains around `level` percent over five seeds; 0 of training alone."""
    entries = {}
    for place, task in enumerate(tasks):
        gain = 0.0 if which == "alone" else level + 0.75 * (place - len(tasks) / 2)
        low, high = (gain - 1.25, gain + 1.25) if which != "alone" else (0.0, 0.0)
        word = "helps" if low > 0 else "hurts" if high < 0 else "no evidence"
        entries[task] = {
            "test": [0.8] * 5, "val": [0.81] * 5, "test_mean": 0.8 + 0.001 * place,
            "test_sd": 0.012, "gain": [gain] * 5, "gain_mean": gain, "gain_low": low,
            "gain_high": high, "p": 0.01, "p_holm": 0.04, "word": word,
        }  # fmt: skip
    serving = {task: list(next(g for g in groups if task in g)) for task in tasks}
    return {
        "id": which, "name": name, "groups": [list(group) for group in groups],
        "assignment": serving, "networks": len(groups), "parameters": 1000 * len(groups),
        "step": 0.5 + 0.5 * len(groups), "tasks": entries,
        "delta_m": {"values": [level] * 5, "mean": level, "low": level - 0.5, "high": level + 0.5},
        "failed": [],
    }  # fmt: skip


def contrast(theirs: str, mean: float, word: str) -> Study:
    return {
        "ours": "recommended", "theirs": theirs, "mean": mean, "low": mean - 0.75,
        "high": mean + 0.75, "p": 0.01, "p_holm": 0.03, "word": word, "differences": [mean] * 5,
    }  # fmt: skip


def make_check(tasks: Sequence[str], groups: list[list[str]]) -> Study:
    shifted = [list(tasks[place :: len(groups)]) for place in range(len(groups))]
    arrangements = [
        arrangement(tasks, "recommended", "recommended groups", groups, 2.5),
        arrangement(tasks, "all_in_one", "one network for all", [list(tasks)], 0.5),
        arrangement(tasks, "alone", "a network for each", [[task] for task in tasks], 0.0),
        arrangement(tasks, "random_1", "random groups 1", shifted, -0.5),
        arrangement(tasks, "random_2", "random groups 2", shifted[::-1], 0.25),
        arrangement(tasks, "branched", "one network with branches", [list(tasks)], 1.75),
    ]
    arrangements[1]["failed"] = [
        {"tasks": list(tasks), "seed": 1, "lr": 0.01, "cause": "the loss is no finite number"}
    ]
    contrasts = [
        contrast("all_in_one", 2.0, "helps"),
        contrast("alone", 2.5, "leans helps"),
        contrast("random", 2.625, "no evidence"),
    ]
    branched = [contrast("all_in_one", 1.25, "helps"), contrast("alone", 1.75, "no evidence")]
    branched = [entry | {"ours": "branched"} for entry in branched]
    return {"arrangements": arrangements, "contrasts": contrasts, "branched": branched}


def make_relation(tasks: Sequence[str] = TASKS, most: int = 3, size: float = 0.02) -> Study:
    """Look-ahead decides, pairwise is beside it, RSA could not be told; the check is complete."""
    lookahead = make_affinity(tasks, size)
    estimators = [
        make_estimator(tasks, "lookahead", lookahead, decides=True, error=size / 8, most=most),
        make_estimator(
            tasks, "pairwise", make_affinity(tasks, 1.5, 1), decides=False, error=None, most=most
        ),
    ]
    failed = {"undefined": "two single-task networks failed"}
    estimators.append(
        estimators[1]
        | {"name": "rsa", "label": "rsa", "affinity": failed, "grouping": failed,
           "agreement": {"undefined": "it has no affinities"}, "grouping_worth": None}
    )  # fmt: skip
    grouping = estimators[0]["grouping"]
    groups, values = grouping["groups"], grouping["values"]
    recommended = [
        {
            "tasks": group,
            "serves": [task for task in group if grouping["assignment"][task] == group],
            "predicted": {t: values[t] for t in group if grouping["assignment"][t] == group},
        }
        for group in groups
    ]
    described = {"kind": "binary", "metric": "auroc", "direction": "max", "role": "main"}
    return {
        "kind": "relate", "schema": 1, "polytask": "0.1.0", "name": "census",
        "created": "2026-01-01T00:00:00+00:00",
        "config": {"data": "census", "out": "runs/census-relations", "lr": [0.001, 0.003]},
        "environment": {"python": "3.11"},
        "tasks": {task: dict(described) for task in tasks},
        "dataset": {"name": "census", "n": 1000, "splits": {"train": 700}, "notes": ["decided"]},
        "interval": {"level": 0.95, "test_redrawn": True},
        "method": "linear", "architecture": "hard_sharing", "max_groups": most, "alone": 0.0,
        "estimators": estimators,
        "recommendation": {
            "estimator": "lookahead", "groups": recommended, "score": grouping["score"],
        },
        "branches": {
            "levels": [[list(tasks)], [list(tasks[::2]), list(tasks[1::2])],
                       [list(tasks[:1]), list(tasks[2::2]), list(tasks[1::2])]],
            "of": "lookahead", "budget": 2.0, "option": "branched: {tree: [[a, b], [c]]}",
        },
        "check": make_check(tasks, groups),
        "cost": {
            "measure": {"runs": 1, "seconds": 20.0}, "check": {"runs": 90, "seconds": 300.0},
            "probes": {"runs": 9, "seconds": 10.0}, "planned": 100,
        },
        "seeds": [0, 1, 2, 3, 4], "seconds": 330.0, "complete": True, "missing": [],
        "remarks": ["One remark."],
        "verdict": {
            "sentence": "Train 2 networks. It is better than one for all.",
            "confidence_note": "5 paired seeds.",
        },
    }  # fmt: skip
