"""Outcomes of a study made from a formula instead of training: for plan and analysis tests."""

from polytask.study.plan import Plan
from polytask.study.settings import Choice, Settings

TARGETS = ["progression:regression", "high:binary"]
"""The targets of the fixture `patients`."""

TASKS = {
    "price": {"kind": "regression", "role": "main", "metric": "rmse", "direction": "min"},
    "sold": {"kind": "binary", "role": "main", "metric": "auroc", "direction": "max"},
}


def settings(**changes):
    values = {
        "name": "houses",
        "tasks": TASKS,
        "fingerprint": "f00d",
        "methods": (Choice("linear"), Choice("rlw"), Choice("pcgrad")),
        "architectures": (Choice("hard_sharing"),),
        "encoder": Choice("mlp"),
        "seeds": 5,
        "epochs": 20,
        "lr": (1e-3, 3e-3),
    }
    return Settings(**(values | changes))


def facts(plan, redrawn=0.2):
    return {
        "tasks": {
            t: dict(f, trivial=3.0 if f["direction"] == "min" else 0.5)
            for t, f in plan.settings.tasks.items()
        },
        "dataset": {"name": "houses", "n": 100, "splits": {"train": 70, "val": 15, "test": 15}},
        "redrawn": redrawn,
    }


def simulate(
    plan: Plan,
    score,
    *,
    cost=lambda unit: 0.01,
    outcomes=None,
    stop=10**9,
    take=lambda some: some[0],
):
    """Carry out the plan; `score(unit, task, part)` is a number, an undefined, or an exception.

    `take` says which of the runs that could start does. Returns the outcomes and the ids in the
    order in which the runs were done, one at a time.
    """
    outcomes = {} if outcomes is None else outcomes
    order = []
    for probe in plan.probes():
        outcomes[probe.hash] = {"step_seconds": cost(probe), "parameters": 10, "load": 0.0}
    while (ready := plan.startable(outcomes)) and len(order) < stop:
        unit = take(ready)
        order.append(unit.id)
        outcomes[unit.hash] = _result(unit, score)
    return outcomes, order


def _result(unit, score):
    tasks = unit.config["tasks"]
    try:
        block = {part: {t: score(unit, t, part) for t in tasks} for part in ("val", "test")}
    except RuntimeError as error:
        return {"error": str(error)}
    curve = [block["val"][t] for t in tasks]
    return {
        "kind": unit.config["kind"],
        "selected": {"epoch": 1, **block},
        "equal_time": {"epoch": 1, **block},
        "curves": {t: [v, v] for t, v in zip(tasks, curve, strict=True)},
        "weights": {t: [1.0, 1.0] for t in tasks},
        "seconds": 1.0,
    }
