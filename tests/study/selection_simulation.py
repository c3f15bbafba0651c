"""Outcomes of a selection made from a formula instead of training."""

import numpy as np

from polytask.study.selection.plan import SelectionPlan
from polytask.study.selection.settings import Selection
from polytask.study.settings import Choice, Settings

HELPERS = ("copy", "related", "noise", "enemy")
COSINES = {"copy": 0.9, "related": 0.5, "noise": 0.2, "enemy": -0.5}


def selection(candidates=HELPERS, direction="max", finalists=3, **changes):
    metric = "auroc" if direction == "max" else "rmse"
    kind = "binary" if direction == "max" else "regression"
    tasks = {
        name: {
            "kind": kind,
            "role": "main" if name == "price" else "auxiliary",
            "metric": metric,
            "direction": direction,
        }
        for name in ("price", *candidates)
    }
    values = {
        "name": "houses",
        "tasks": tasks,
        "fingerprint": "f00d",
        "methods": (changes.pop("method", Choice("linear")),),
        "architectures": (changes.pop("architecture", Choice("hard_sharing")),),
        "encoder": Choice("mlp"),
        "select": "main:price",
        "seeds": 5,
        "lr": (1e-3, 3e-3),
    }
    recipes = changes.pop("recipes", ())
    return Selection(Settings(**(values | changes)), "price", finalists, None, recipes)


def facts(plan, redrawn=0.2):
    tasks = {t: dict(f, trivial=0.1) for t, f in plan.settings.tasks.items()}
    labels = dict.fromkeys(plan.selection.candidates)
    return {
        "tasks": tasks,
        "dataset": {"name": "houses", "n": 100, "splits": {"train": 70, "val": 15, "test": 15}},
        "labels": labels,
        "redrawn": redrawn,
    }


def record(tasks, cosines, steps=60):
    """A conflict record of unit gradients with these cosines to the first task, and noise."""
    random = np.random.default_rng(0)
    truth = np.eye(len(tasks))
    for place, task in enumerate(tasks):
        if place:
            truth[0, place] = truth[place, 0] = cosines.get(task, 0.0)
    upper = np.triu_indices(len(tasks))
    rows = [(truth + 0.05 * random.normal(size=truth.shape))[upper] for _ in range(steps)]
    return {
        "tasks": list(tasks),
        "statistic": "tail",
        "products": [row.tolist() for row in rows],
        "norms": [[1.0] * len(tasks)] * steps,
        "skipped": {},
    }


def simulate(plan: SelectionPlan, score, *, bandit=None, cosines=None, outcomes=None, stop=10**9,
             fails=lambda unit: False):  # fmt: skip
    """Carry out the plan; `score(unit, part)` is the main task's score.

    Returns the outcomes and the ids in the order in which the runs were done, one at a time.
    """
    outcomes = {} if outcomes is None else outcomes
    order = []
    while (ready := plan.startable(outcomes)) and len(order) < stop:
        unit = ready[0]
        order.append(unit.id)
        outcomes[unit.hash] = (
            {"error": "out of memory"} if fails(unit) else _ended(unit, score, bandit, cosines)
        )
        for probe in plan.probes(outcomes):
            steps = 0.01 * len(probe.config["tasks"])
            outcomes.setdefault(probe.hash, {"step_seconds": steps, "parameters": 10})
    return outcomes, order


def _ended(unit, score, bandit, cosines):
    head = {"kind": unit.config["kind"], "seconds": 2.0}
    if unit.config["kind"] == "trial":
        arms = {
            task: {
                "mean": mean,
                "standard_error": 0.05,
                "interval": [mean - 0.1, mean + 0.1],
                "pulls": 9,
            }
            for task, mean in (bandit or {}).items()
        }
        return {**head, "bandit": {"main": "price", "arms": arms, "rounds": []}}
    tasks = unit.config["tasks"]
    block = {part: {t: score(unit, part) for t in tasks} for part in ("val", "test")}
    ended = {
        **head,
        "selected": {"epoch": 1, **block},
        "curves": {t: [block["val"][t]] * 2 for t in tasks},
    }
    if "conflict" in unit.config:
        ended["conflict"] = record(tasks, cosines or COSINES)
    return ended
