"""What an answer took: runs and seconds of every estimator, of measuring and of the check."""

from __future__ import annotations

from typing import Any

from polytask.study.ledger import spent
from polytask.study.plan import Outcomes
from polytask.study.relations.measures import Measure
from polytask.study.relations.plan import RelationPlan


def costs(plan: RelationPlan, outcomes: Outcomes) -> dict[str, Any]:
    """`{"measure", "check", "probes"}`, each with "runs" and "seconds", and "planned".

    A training that belongs to both counts as one that measures.
    """
    measuring = plan.measuring(outcomes)
    shown = {unit.hash for unit in measuring}
    networks = plan.contenders(outcomes).values()
    checking = [u for c in networks for u in plan.units(c, outcomes) if u.hash not in shown]
    return {
        "measure": spent(measuring, outcomes),
        "check": spent(checking, outcomes),
        "probes": spent(plan.probes(outcomes), outcomes),
        "planned": plan.planned(outcomes),
    }


def cost_of(plan: RelationPlan, measure: Measure, outcomes: Outcomes) -> dict[str, Any]:
    """What one estimator took: `{"runs", "seconds", "trainings"}`.

    Runs and seconds are those beyond the training of all tasks; what it shares with others counts
    in full. "trainings" is everything, that training included where it is needed, in ordinary
    trainings of all tasks: the number that the affinity tells as its cost where it tells one, else
    by seconds, against a training that records nothing, or the recorded one where there is no
    other. Runs are timed beside others, so that is rough. None before any has ended.
    """
    units = plan.measuring_units(measure, outcomes)
    together = {plan.together(seed).hash for seed in range(plan.seeds_measured)}
    beyond = spent([unit for unit in units if unit.hash not in together], outcomes)
    recorded = spent([unit for unit in units if unit.hash in together], outcomes)
    told = plan.told(measure, outcomes)
    known = None if told is None or told.affinity is None else told.affinity.cost
    if isinstance(known, int | float):
        return {**beyond, "trainings": float(known)}
    base = _ordinary(plan, outcomes)
    total = beyond["seconds"] + recorded["seconds"]
    # Seconds of runs beside others are rough; a training that records is not less than one.
    return {**beyond, "trainings": max(total / base, recorded["runs"]) if base else None}


def _ordinary(plan: RelationPlan, outcomes: Outcomes) -> float | None:
    """Seconds of one training of all tasks."""
    plain = plan.unit(plan.everyone, plan.rate, 0, outcomes)
    for unit in (plain, plan.together()):
        ended = {} if unit is None else outcomes.get(unit.hash, {})
        if ended and "error" not in ended:
            return float(ended.get("seconds", 0.0)) or None
    return None
