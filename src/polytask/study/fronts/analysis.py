"""From ended runs to the `results.json` of a front: a pure function.

Learning rates, epochs and who is on the front are chosen on validation. Test scores are only
reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.study.analysis import SELECTED, failures, finished
from polytask.study.fronts.front import covered, mark_front
from polytask.study.fronts.plan import ParetoPlan
from polytask.study.fronts.verdict import remarks, steering, verdict
from polytask.study.plan import Contender, Outcomes
from polytask.study.scores import Yardstick, delta_m, gain_entries, single_entry

SCHEMA = 1
KIND = "pareto"


def analyse(
    plan: ParetoPlan,
    facts: Mapping[str, Any],
    outcomes: Outcomes,
    reference: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The content of `results.json` (kind "pareto", schema 1), complete or not.

    `facts` says what is known of the data, as for a comparison; `reference` is the score of each
    task from which the hypervolume is measured, where one was given.
    """
    settings, redrawn = plan.settings, float(facts["redrawn"])
    singles = {
        c.tasks[0]: single_entry(finished(plan, c, outcomes), SELECTED, c.tasks[0])
        for c in plan.singles
    }
    directions = {t: str(task["direction"]) for t, task in settings.tasks.items()}
    yardstick = Yardstick(singles, directions, settings.counted, settings.judged, redrawn)
    points = [
        {
            "id": contender.id,
            "name": point_name(point.preference),
            "preference": point.preference,
            **_network(plan, contender, outcomes, yardstick),
        }
        for contender, point in zip(plan.candidates, plan.points, strict=True)
    ]
    mark_front(points, directions)
    missing = _missing(plan, outcomes)
    results: dict[str, Any] = {
        "kind": KIND,
        "schema": SCHEMA,
        "tasks": facts["tasks"],
        "dataset": facts["dataset"],
        "interval": {"level": 0.95, "test_redrawn": redrawn > 0},
        "method": plan.points[0].choice.name,
        "architecture": settings.architectures[0].label,
        "lr": plan.chosen_lr(plan.middle, outcomes),
        "single_task": {
            contender.tasks[0]: {
                "lr": plan.chosen_lr(contender, outcomes),
                **singles[contender.tasks[0]],
                "failed": failures(plan, contender, outcomes),
            }
            for contender in plan.singles
        },
        "points": points,
        "steering": steering(points, list(directions), redrawn),
        "hypervolume": covered(points, singles, directions, reference),
        "seeds": list(range(settings.seeds)),
        "seconds": sum(float(o.get("seconds", 0.0)) for o in outcomes.values()),
        "complete": not missing,
        "missing": missing,
    }
    results["remarks"] = remarks(results)
    return results | {"verdict": verdict(results)}


def point_name(preference: Mapping[str, float]) -> str:
    """`0.16 price, 0.84 size`; of many tasks, the numbers alone."""
    if len(preference) > 3:
        return " / ".join(f"{part:.2f}" for part in preference.values())
    return ", ".join(f"{part:.2f} {task}" for task, part in preference.items())


def _network(
    plan: ParetoPlan, contender: Contender, outcomes: Outcomes, yardstick: Yardstick
) -> dict[str, Any]:
    runs = finished(plan, contender, outcomes)
    probe = outcomes.get(plan.probe(contender).hash, {})
    return {
        "tasks": gain_entries(runs, SELECTED, contender.tasks, yardstick),
        "delta_m": delta_m(runs, SELECTED, yardstick),
        "cost": {
            "relative": plan.relative_cost(contender, outcomes),
            **{key: probe.get(key) for key in ("step_seconds", "peak_memory_mb", "parameters")},
        },
        "failed": failures(plan, contender, outcomes),
    }


def _missing(plan: ParetoPlan, outcomes: Outcomes) -> list[str]:
    """In words, what has neither finished nor failed."""
    waiting = []
    for contender in plan.contenders:
        known = plan.known(contender, outcomes)
        left = [unit.id for unit in known if unit.hash not in outcomes]
        if left:
            waiting.append(f"{contender.id}: {', '.join(left)}")
        elif not known and not _hopeless(plan, contender, outcomes):
            waiting.append(f"{contender.id}: not started, as other runs come first")
    return waiting


def _hopeless(plan: ParetoPlan, contender: Contender, outcomes: Outcomes) -> bool:
    """Whether the search ended without a rate that works, so that the point cannot be trained."""
    searched = plan.known(plan.middle, outcomes)
    every = len(searched) >= len(plan.settings.lr)
    ended = every and all(unit.hash in outcomes for unit in searched)
    return not contender.single and ended and plan.chosen_lr(plan.middle, outcomes) is None
