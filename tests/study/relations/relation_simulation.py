"""Outcomes of a study of relationships made from a table instead of training.

Three tasks, worked by hand: a and b are better the larger, c the smaller its score. Gains over the
task alone in percent: a with b +10, b with a +5, a with c -10, c with a +10, b with c 0,
c with b -10; all together a 0, b 0, c +3.
"""

from polytask.relationships import Affinity
from polytask.study.relations.plan import RelationPlan
from polytask.study.relations.settings import Relation
from polytask.study.settings import Choice, Settings

SCORES = {
    "a": {"a": 0.50},
    "b": {"b": 0.40},
    "c": {"c": 2.0},
    "ab": {"a": 0.55, "b": 0.42},
    "ac": {"a": 0.45, "c": 1.8},
    "bc": {"b": 0.40, "c": 2.2},
    "abc": {"a": 0.50, "b": 0.40, "c": 1.94},
}
DIRECTIONS = {"a": "max", "b": "max", "c": "min"}
GIVEN = {"a": {"b": 10, "c": -10}, "b": {"a": 5, "c": 0}, "c": {"a": 10, "b": -10}}


def relation(estimators=("pairwise",), max_groups=2, **changes):
    words = ("alone", "check", "randoms", "branches", "budget", "budget_in")
    own = {k: changes.pop(k) for k in words if k in changes}
    tasks = {
        name: {
            "kind": "binary" if direction == "max" else "regression",
            "role": "main",
            "metric": "auroc" if direction == "max" else "rmse",
            "direction": direction,
        }
        for name, direction in DIRECTIONS.items()
    }
    values = {
        "name": "houses",
        "tasks": tasks,
        "fingerprint": "f00d",
        "methods": (changes.pop("method", Choice("linear")),),
        "architectures": (changes.pop("architecture", Choice("hard_sharing")),),
        "encoder": Choice("mlp"),
        "seeds": 5,
        "lr": (1e-3, 3e-3),
    }
    chosen = tuple(e if isinstance(e, Choice) else Choice(e) for e in estimators)
    return Relation(Settings(**(values | changes)), chosen, max_groups, **own)


def planned(*estimators, given=None, **changes):
    table = None if given is None else Affinity.from_mapping(given)
    chosen = estimators or (() if table else ("pairwise",))
    return RelationPlan(relation(chosen, **changes), table)


def facts(plan, redrawn=0.2):
    tasks = {t: dict(f, trivial=0.1 if f["direction"] == "max" else 9.0)
             for t, f in plan.settings.tasks.items()}  # fmt: skip
    splits = {"train": 70, "val": 15, "test": 15}
    dataset = {"name": "houses", "n": 100, "splits": splits}
    return {"tasks": tasks, "dataset": dataset, "redrawn": redrawn}


def table(unit, task, part):
    """The score above, better at the larger rate on validation."""
    score = SCORES["".join(sorted(unit.config["tasks"]))][task]
    worse = 0.9 if DIRECTIONS[task] == "max" else 1.1
    return score * worse if part == "val" and unit.config["lr"] < 2e-3 else score


def simulate(plan, score=table, *, outcomes=None, stop=10**9, fails=lambda unit: False):
    """Carry out the plan; `score(unit, task, part)` is the score of a task in a run.

    Returns the outcomes and the ids in the order in which the runs were done, one at a time.
    """
    outcomes = {} if outcomes is None else outcomes
    order = []
    while (ready := plan.startable(outcomes)) and len(order) < stop:
        unit = ready[0]
        order.append(unit.id)
        head = {"kind": unit.config["kind"], "seconds": 2.0}
        if fails(unit):
            outcomes[unit.hash] = {"error": "out of memory"}
        else:
            block = {p: {t: score(unit, t, p) for t in unit.config["tasks"]}
                     for p in ("val", "test")}  # fmt: skip
            outcomes[unit.hash] = {**head, "selected": {"epoch": 1, **block}}
        for probe in plan.probes(outcomes):
            steps = 0.01 * len(probe.config["tasks"])
            outcomes.setdefault(probe.hash, {"step_seconds": steps, "parameters": 10})
    return outcomes, order
