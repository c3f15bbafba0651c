"""From ended runs to the `results.json` of a study of relationships: a pure function.

Everything is chosen on validation: learning rates (seed 0), epochs (inside each run). Groups follow
from affinities, which see training and validation rows. Test scores are only reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.relationships import Affinity, Grouping
from polytask.relationships.branches import BranchTree
from polytask.study.ledger import left
from polytask.study.plan import Outcomes
from polytask.study.relations.agreement import agreement, worth
from polytask.study.relations.arrangements import check
from polytask.study.relations.budget import facts as budget
from polytask.study.relations.costs import cost_of, costs
from polytask.study.relations.measures import Measure
from polytask.study.relations.plan import BUDGET, RelationPlan, Told
from polytask.study.relations.remarks import remarks
from polytask.study.relations.verdict import verdict

SCHEMA = 1
KIND = "relate"
GOLD = "pairwise"
NOT_YET = "its runs have not ended"


def analyse(plan: RelationPlan, facts: Mapping[str, Any], outcomes: Outcomes) -> dict[str, Any]:
    """The content of `results.json` (kind "relate", schema 1), complete or not.

    `facts` says what is known of the data: "tasks", "dataset" and "redrawn" (n_test / n_train
    when every seed draws its own test split, else 0).
    """
    relation, redrawn = plan.relation, float(facts["redrawn"])
    missing = _missing(plan, outcomes)
    results: dict[str, Any] = {
        "kind": KIND,
        "schema": SCHEMA,
        "tasks": facts["tasks"],
        "dataset": facts["dataset"],
        "interval": {"level": 0.95, "test_redrawn": redrawn > 0},
        "method": relation.method.label,
        "architecture": relation.architecture.label,
        "max_groups": relation.max_groups,
        "budget": budget(plan, outcomes),
        "alone": relation.worth_alone(plan.measures[0].gains),
        "estimators": _estimators(plan, outcomes),
        "recommendation": _recommendation(plan, outcomes),
        "branches": _branches(plan, outcomes),
        "check": check(plan, outcomes, redrawn),
        "cost": costs(plan, outcomes),
        "seeds": list(range(plan.settings.seeds)),
        "seconds": sum(float(o.get("seconds", 0.0)) for o in outcomes.values()),
        "complete": not missing,
        "missing": missing,
    }
    results["remarks"] = remarks(results, plan, outcomes)
    return results | {"verdict": verdict(results)}


def _estimators(plan: RelationPlan, outcomes: Outcomes) -> list[dict[str, Any]]:
    gold = None
    for measure in plan.measures:
        told = plan.told(measure, outcomes)
        if measure.name == GOLD and told is not None:
            gold = told.affinity
    return [
        _estimator(plan, measure, gold, outcomes, first=k == 0)
        for k, measure in enumerate(plan.measures)
    ]


def _estimator(
    plan: RelationPlan, measure: Measure, gold: Affinity | None, outcomes: Outcomes, first: bool
) -> dict[str, Any]:
    told = plan.told(measure, outcomes) or Told(reason=NOT_YET)
    affinity, grouping = told.affinity, told.grouping
    compared = worthy = None
    if any(m.name == GOLD for m in plan.measures) and measure.name != GOLD:
        if affinity is not None and gold is not None:
            compared = agreement(affinity, gold)
        else:
            compared = {"undefined": told.reason or "pairwise training has no affinities"}
    if gold is not None and grouping is not None:
        worthy = worth(grouping, gold)
    why = {"undefined": told.reason}
    return {
        "name": measure.name,
        "label": measure.label,
        "needs": measure.estimator.needs,
        "unit": measure.estimator.unit,
        "gains": measure.gains,
        "decides": first,
        "affinity": why if affinity is None else affinity.to_dict(),
        "grouping": why if grouping is None else _grouping(grouping),
        "cost": cost_of(plan, measure, outcomes),
        "agreement": compared,
        "grouping_worth": worthy,
    }


def _grouping(grouping: Grouping) -> dict[str, Any]:
    return {
        "groups": [list(group) for group in grouping.groups],
        "assignment": {task: list(group) for task, group in grouping.assignment.items()},
        "score": grouping.score,
        "values": grouping.values,
        "cost": grouping.cost,
        "gap": grouping.gap,
    }


def _recommendation(plan: RelationPlan, outcomes: Outcomes) -> dict[str, Any]:
    measure = plan.measures[0]
    told = plan.told(measure, outcomes) or Told(reason=NOT_YET)
    if told.grouping is None:
        return {"undefined": told.reason}
    grouping, found = told.grouping, []
    for group in grouping.groups:
        served = [task for task in group if grouping.assignment[task] == group]
        predicted = {task: grouping.values[task] for task in served}
        found.append({"tasks": list(group), "serves": served, "predicted": predicted})
    return {
        "estimator": measure.name,
        "groups": found,
        "score": grouping.score,
        "cost": grouping.cost,
    }


def _branches(plan: RelationPlan, outcomes: Outcomes) -> dict[str, Any] | None:
    if plan.relation.branches is None:
        return None
    tree = plan.tree(outcomes)
    if not isinstance(tree, BranchTree):
        return {"of": plan.relation.branches, "undefined": tree or NOT_YET}
    return {
        "levels": [[list(group) for group in level] for level in tree.levels],
        "of": plan.relation.branches,
        "budget": BUDGET,
        "cost": tree.cost,
        "option": tree.to_option(),
    }


def _missing(plan: RelationPlan, outcomes: Outcomes) -> list[str]:
    """In words, what has neither finished nor failed."""
    waiting = [f"measuring: {u.id}" for u in plan.measuring(outcomes) if u.hash not in outcomes]
    waiting += [f"costs: {u.id}" for u in plan.pricing() if u.hash not in outcomes]
    if plan.relation.check and not plan.decided(outcomes):
        waiting.append("the networks of the groups, which are not known before the measuring ends")
    for contender in plan.contenders(outcomes).values():
        units = plan.units(contender, outcomes)
        waiting += left(contender.id, units, plan.settings.lr, outcomes)
    return waiting
