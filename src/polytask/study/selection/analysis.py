"""From ended runs to the `results.json` of a selection: a pure function.

Everything is chosen on validation: learning rates (seed 0), epochs (inside each run), at last one
set of helpers. Test scores are only reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.study.ledger import left
from polytask.study.plan import Contender, Outcomes
from polytask.study.selection.costs import costs
from polytask.study.selection.effects import Effects, Entry, against, choose, effects, judge
from polytask.study.selection.plan import SelectionPlan
from polytask.study.selection.remarks import remarks
from polytask.study.selection.sets import set_name
from polytask.study.selection.verdict import verdict

SCHEMA = 1
KIND = "auxiliary"


def analyse(plan: SelectionPlan, facts: Mapping[str, Any], outcomes: Outcomes) -> dict[str, Any]:
    """The content of `results.json` (kind "auxiliary", schema 1), complete or not.

    `facts` says what is known of the data: "tasks", "dataset", "labels" (statistics by candidate)
    and "redrawn" (n_test / n_train when every seed draws its own test split, else 0).
    """
    selection, redrawn = plan.selection, float(facts["redrawn"])
    screened = plan.screen(outcomes)
    finalists = plan.finalists(outcomes)
    found = effects(plan, outcomes, finalists or (), redrawn) if finalists else None
    missing = _missing(plan, outcomes)
    results: dict[str, Any] = {
        "kind": KIND,
        "schema": SCHEMA,
        "main": selection.main,
        "tasks": facts["tasks"],
        "dataset": facts["dataset"],
        "interval": {"level": 0.95, "test_redrawn": redrawn > 0},
        "method": selection.method.label,
        "architecture": selection.architecture.label,
        "screen": {
            "lr": plan.screening_rate,
            "trial": selection.screened,
            "helpers": [
                {**entry, "labels": facts["labels"].get(entry["task"])}
                for entry in (screened.helpers if screened else ())
            ],
        },
        "finalists": list(finalists or ()),
        "sets": [],
        "helpers": {},
        "recommended": None,
        "cost": costs(plan, outcomes),
        "seeds": list(range(plan.settings.seeds)),
        "seconds": sum(float(o.get("seconds", 0.0)) for o in outcomes.values()),
        "complete": not missing,
        "missing": missing,
    }
    if found is not None:
        results["sets"] = _sets(plan, found, outcomes)
        results["helpers"] = found.helpers
        results["recommended"] = _recommended(plan, found, redrawn)
    results["remarks"] = [
        *(screened.remarks if screened else ()),
        *remarks(results, plan, outcomes),
    ]
    return results | {"verdict": verdict(results)}


def _sets(plan: SelectionPlan, found: Effects, outcomes: Outcomes) -> list[Entry]:
    """Every set with its learning rate, its costs and its failures."""
    contenders, selection = plan.contenders(outcomes), plan.selection
    finalists = plan.finalists(outcomes) or ()
    base = outcomes.get(plan.probe(plan.alone).hash, {}).get("step_seconds")
    entries = []
    for key, entry in found.sets.items():
        contender = contenders[key]
        probe = outcomes.get(plan.probe(contender).hash, {})
        seconds = probe.get("step_seconds")
        entries.append(
            {
                "id": entry["id"],
                "name": set_name(entry["helpers"], selection.main, selection.candidates, finalists),
                **entry,
                "lr": plan.chosen_lr(contender, outcomes),
                "cost": {
                    "relative": seconds / base if seconds and base else None,
                    **{
                        key: probe.get(key)
                        for key in ("step_seconds", "peak_memory_mb", "parameters")
                    },
                },
                "failed": failures(plan, contender, outcomes),
            }
        )
    return entries


def _recommended(plan: SelectionPlan, found: Effects, redrawn: float) -> Entry | None:
    """The set chosen on validation, judged on test against the main task alone and all helpers."""
    chosen = choose(found.sets, plan.selection.direction, redrawn)
    if chosen is None:
        return None
    versus = {
        "versus_none": against(chosen, found.sets[frozenset()], redrawn),
        "versus_all": against(chosen, found.sets[frozenset(plan.selection.candidates)], redrawn),
    }
    judge([entry for entry in versus.values() if entry is not None])
    return {"id": chosen["id"], "helpers": chosen["helpers"], **versus}


def failures(plan: SelectionPlan, contender: Contender, outcomes: Outcomes) -> list[Entry]:
    """Seed, rate and cause of every failed run of a set, those of the search included."""
    return [
        {"seed": unit.config["seed"], "lr": unit.config["lr"], "cause": ended["error"]}
        for unit in plan.units(contender, outcomes)
        if (ended := outcomes.get(unit.hash)) and "error" in ended
    ]


def _missing(plan: SelectionPlan, outcomes: Outcomes) -> list[str]:
    """In words, what has neither finished nor failed."""
    proof = {plan.unit(plan.everyone, lr, 0).id for lr in plan.settings.lr}
    screening = [u for u in plan.screening() if u.id not in proof]
    waiting = [f"screen: {u.id}" for u in screening if u.hash not in outcomes]
    if plan.finalists(outcomes) is None:
        waiting.append("the sets of the finalists, who are not known before the screen has ended")
    for contender in plan.contenders(outcomes).values():
        units = plan.units(contender, outcomes)
        waiting += left(contender.id, units, plan.settings.lr, outcomes)
    return waiting
