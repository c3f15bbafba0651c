"""What a reader must know beside the numbers of a study of relationships, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from polytask.relationships import Affinity
from polytask.report.numbers import bracket, plural, signed
from polytask.report.words import several
from polytask.study.folder import number
from polytask.study.plan import Outcomes
from polytask.study.relations.groups import ALL_IN_ONE, ALONE, RANDOM
from polytask.study.relations.plan import RelationPlan
from polytask.study.remarks import busy
from polytask.study.statistics import SIGNS

CLEAR = 2.0
"""Standard errors by which an affinity stands out from noise."""


def remarks(results: Mapping[str, Any], plan: RelationPlan, outcomes: Outcomes) -> list[str]:
    """All of them, the weightiest first. `results` holds all but remarks and verdict."""
    return [
        *_no_better_than_a_constant(results),
        *_noise(plan, outcomes),
        *_disagreement(results),
        *_same(plan, outcomes),
        *_randoms(plan, outcomes),
        *_estimators(results),
        *_gap(results),
        *_failures(results),
        *_rates_at_the_edge(plan, outcomes),
        *busy(plan.probes(outcomes), outcomes),
    ]


def stands_out(affinity: Affinity) -> tuple[int, int]:
    """How many pairs lie beyond their noise, and how many have an error to tell it by."""
    if affinity.standard_errors is None:
        return 0, 0
    off = ~np.eye(len(affinity.tasks), dtype=bool)
    known = np.isfinite(affinity.values) & np.isfinite(affinity.standard_errors) & off
    clear = np.abs(affinity.values) >= CLEAR * affinity.standard_errors
    return int((known & clear).sum()), int(known.sum())


def _no_better_than_a_constant(results: Mapping[str, Any]) -> list[str]:
    """Tasks that no network has learned: their gains compare noise with noise."""
    check = results["check"]
    unlearned = []
    for task, facts in results["tasks"].items() if check else ():
        trivial, sign = number(facts.get("trivial")), SIGNS[facts["direction"]]
        means = [number(entry["tasks"][task]["test_mean"]) for entry in check["arrangements"]]
        known = [sign * mean for mean in means if mean is not None]
        if trivial is not None and known and max(known) <= sign * trivial:
            unlearned.append(task)
    if not unlearned:
        return []
    return [
        f"On {several(unlearned, len(results['tasks']))} no network beat the best constant "
        "prediction: nothing was learned, so gains there mean nothing. Train longer, or try other "
        "learning rates."
    ]


def _noise(plan: RelationPlan, outcomes: Outcomes) -> list[str]:
    """Affinities within their noise, and unknown pairs, of the estimator that decides."""
    measure = plan.measures[0]
    told = plan.told(measure, outcomes)
    if told is None or told.affinity is None:
        return []
    size = len(plan.tasks)
    every = size * (size - 1)
    said = []
    clear, judged = stands_out(told.affinity)
    if judged and 2 * clear < judged:
        said.append(
            f"The measured affinities do not stand out from noise: {judged - clear} of {judged} "
            f"lie within {CLEAR:g} standard errors of 0 ({measure.label}). Other noise may have "
            "made other groups."
        )
    off = ~np.eye(size, dtype=bool)
    unknown = int((~np.isfinite(told.affinity.values) & off).sum())
    if unknown:
        said.append(
            f"{unknown} of {every} affinities are not known ({measure.label}); tasks of such pairs "
            "are not put together."
        )
    return said


def _same(plan: RelationPlan, outcomes: Outcomes) -> list[str]:
    """Recommended groups that are one of the two ends."""
    known = {arrangement.id: arrangement for arrangement in plan.arrangements(outcomes)}
    ours = plan.recommended(outcomes)
    if ours is None or not known:
        return []
    words = {
        ALL_IN_ONE: "to train all tasks in one network",
        ALONE: "to train every task alone",
    }
    return [
        f"The recommendation is {words[which]}, so that is trained once and not compared with "
        "itself."
        for which in words
        if known[which].same(ours)
    ]


def _randoms(plan: RelationPlan, outcomes: Outcomes) -> list[str]:
    """Fewer random groupings than were asked for."""
    ours = plan.recommended(outcomes)
    if not plan.relation.check or ours is None:
        return []
    found = [a for a in plan.arrangements(outcomes) if a.id.startswith(RANDOM)]
    if len(found) == plan.relation.randoms:
        return []
    left = plural(len(found), "other way") if found else "no other way"
    drawn = plural(len(found), "random grouping") if found else "no random grouping"
    return [
        f"There {'are' if len(found) > 1 else 'is'} {left} to divide {len(plan.tasks)} tasks among "
        f"{plural(len(ours.groups), 'network')}, so {drawn} "
        f"{'were' if len(found) > 1 else 'was'} drawn."
    ]


def _disagreement(results: Mapping[str, Any]) -> list[str]:
    """An estimator that decides without foreseeing what training pairs shows."""
    found = results["estimators"][0]["agreement"]
    if not found or "undefined" in found or (found["low"] is not None and found["low"] > 0):
        return []
    value, interval = signed(found["spearman"], 2), bracket(found["low"], found["high"], 2)
    label = results["estimators"][0]["label"]
    return [
        f"Whether {label} ranks pairs as training them in pairs does is not shown: Spearman "
        f"{value}{' ' + interval if interval else ''}, tasks redrawn."
    ]


def _estimators(results: Mapping[str, Any]) -> list[str]:
    """What could not be measured or grouped."""
    said = []
    for entry in results["estimators"]:
        for part, what in (("affinity", "affinities"), ("grouping", "groups")):
            if "undefined" in entry[part]:
                said.append(f"{entry['label']} has no {what}: {_stop(entry[part]['undefined'])}")
                break
    branches = results["branches"]
    if branches is not None and "undefined" in branches:
        said.append(f"No tree of branches was found: {_stop(branches['undefined'])}")
    return said


def _gap(results: Mapping[str, Any]) -> list[str]:
    """Groups that are not proved to be the best."""
    return [
        f"The groups of {entry['label']} are not proved to be the best: others may score at most "
        f"{entry['grouping']['gap']:.3g} more."
        for entry in results["estimators"]
        if entry["grouping"].get("gap", 0.0) > 0.0
    ]


def _failures(results: Mapping[str, Any]) -> list[str]:
    """Seeds that are left out, by network."""
    lost: dict[tuple[str, ...], set[int]] = {}
    for entry in results["check"]["arrangements"] if results["check"] else ():
        rates = dict(zip(map(tuple, entry["groups"]), entry["lr"], strict=True))
        for failed in entry["failed"]:
            group = tuple(failed["tasks"])
            if failed["lr"] == rates.get(group):
                lost.setdefault(group, set()).add(failed["seed"])
    return [
        f"{' + '.join(group)}: seed {', '.join(map(str, sorted(seeds)))} failed and is left out."
        for group, seeds in lost.items()
    ]


def _rates_at_the_edge(plan: RelationPlan, outcomes: Outcomes) -> list[str]:
    rates, networks = plan.settings.lr, plan.contenders(outcomes).values()
    at_edge = [c.id for c in networks if plan.chosen_lr(c, outcomes) in (rates[0], rates[-1])]
    if len(rates) < 3 or not at_edge:
        return []
    return [
        f"The best learning rate is the smallest or largest that was tried for {len(at_edge)} of "
        f"{len(networks)} networks; a wider grid may do better."
    ]


def _stop(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
