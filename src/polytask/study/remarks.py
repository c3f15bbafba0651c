"""What a reader must know beside the numbers of a study, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.words import listing
from polytask.study.folder import number
from polytask.study.plan import Outcomes, Plan, Unit
from polytask.study.statistics import SIGNS


def remarks(
    results: Mapping[str, Any], chosen: Mapping[str, Any] | None, plan: Plan, outcomes: Outcomes
) -> list[str]:
    """All of them, the weightiest first. `results` holds "tasks", "single_task", "candidates"."""
    said: list[str] = []
    if along := [t for t in plan.settings.tasks if t not in plan.settings.judged]:
        said.append(
            f"{listing(along)} {'is' if len(along) == 1 else 'are'} auxiliary: trained along, left "
            "out of Δm and of the verdict."
        )
    said += _helpers(results, plan)
    said += _sizes(results, plan)
    said += _no_better_than_a_constant(results, chosen, plan)
    for task, reason in (chosen["delta_m"]["left_out"] if chosen else {}).items():
        said.append(f"{task} is left out of Δm ({reason}).")
    for candidate in results["candidates"]:
        seeds = sorted({f["seed"] for f in candidate["failed"] if f["lr"] == candidate["lr"]})
        if seeds:
            listed = ", ".join(map(str, seeds))
            said.append(f"{candidate['name']}: seed {listed} failed and is left out.")
    return said + _rates_at_the_edge(plan, outcomes) + busy(plan.probes(), outcomes)


def _helpers(results: Mapping[str, Any], plan: Plan) -> list[str]:
    """Helper tasks that recipes made, and what they add to an epoch."""
    if not plan.settings.auxiliary:
        return []
    made = listing([choice.label for choice in plan.settings.auxiliary])
    factor = results["dataset"].get("rows_with_helpers", 1.0)
    rows = f", with {factor:.1f} times the rows in an epoch" if factor > 1 else ""
    return [
        f"Networks that share train helpers made by {made}{rows}; separate networks do without."
    ]


def _no_better_than_a_constant(
    results: Mapping[str, Any], chosen: Mapping[str, Any] | None, plan: Plan
) -> list[str]:
    """Tasks that no network has learned: their gains compare noise with noise."""
    unlearned = []
    for task in plan.settings.judged if chosen else ():
        facts = results["tasks"][task]
        trivial = number(facts.get("trivial"))
        alone = number(results["single_task"][task]["mean"])
        together = number(chosen["tasks"][task]["mean"]) if chosen else None
        if trivial is None or alone is None or together is None:
            continue
        sign = SIGNS[facts["direction"]]
        if max(sign * alone, sign * together) <= sign * trivial:
            unlearned.append(task)
    if not unlearned:
        return []
    return [
        f"On {listing(unlearned)} neither the separate networks nor the chosen shared one beat the "
        "best constant prediction: nothing was learned, so gains there mean nothing. Train longer, "
        "or try other learning rates."
    ]


def _sizes(results: Mapping[str, Any], plan: Plan) -> list[str]:
    """What was made of equal size, and how equal it came out."""
    if plan.settings.parameters is None:
        return []
    found = [c["cost"]["parameters"] for c in results["candidates"]]
    known = [count for count in found if count is not None]
    if not known:
        return []
    return [
        f"Encoders were scaled so that every network has about {plan.settings.parameters:,} "
        f"parameters ({min(known):,} to {max(known):,}), the separate ones together."
    ]


def _rates_at_the_edge(plan: Plan, outcomes: Outcomes) -> list[str]:
    edges = (plan.settings.lr[0], plan.settings.lr[-1])
    if len(plan.settings.lr) < 3:
        return []
    at_edge = [c.id for c in plan.contenders if plan.chosen_lr(c, outcomes) in edges]
    if not at_edge:
        return []
    return [
        f"The best learning rate is the smallest or largest that was tried for {len(at_edge)} of "
        f"{len(plan.contenders)} networks; a wider grid may do better."
    ]


def busy(probes: Sequence[Unit], outcomes: Outcomes) -> list[str]:
    """That other work made the measured costs rough."""
    loads = [outcomes[u.hash].get("load") for u in probes if u.hash in outcomes]
    highest = max((load for load in loads if load is not None), default=0.0)
    if highest <= 1.5:
        return []
    return [
        f"The machine was busy while costs were measured (load {highest:.1f}): "
        "step times, and what is compared at equal time, are rough."
    ]
