"""What a reader must know beside the numbers of a selection, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.report.words import several
from polytask.study.folder import number
from polytask.study.plan import Outcomes
from polytask.study.remarks import busy
from polytask.study.selection.plan import SelectionPlan
from polytask.study.statistics import SIGNS


def remarks(results: Mapping[str, Any], plan: SelectionPlan, outcomes: Outcomes) -> list[str]:
    """All of them, the weightiest first."""
    said = _no_better_than_a_constant(results)
    fighting = [entry["task"] for entry in results["screen"]["helpers"] if entry["fights"]]
    if fighting:
        named = several(fighting, len(results["tasks"]) - 1)
        said.append(
            f"In the screen the gradient of {named} pulled against that of {results['main']}, by "
            "more than two standard errors."
        )
    for entry in results["sets"]:
        seeds = sorted({f["seed"] for f in entry["failed"] if f["lr"] == entry["lr"]})
        if seeds:
            listed = ", ".join(map(str, seeds))
            said.append(f"{entry['name']}: seed {listed} failed and is left out.")
    return said + _rates_at_the_edge(results, plan) + busy(plan.probes(outcomes), outcomes)


def _no_better_than_a_constant(results: Mapping[str, Any]) -> list[str]:
    """A main task that no network has learned: its gains compare noise with noise."""
    facts = results["tasks"][results["main"]]
    trivial, sign = number(facts.get("trivial")), SIGNS[facts["direction"]]
    means = [m for entry in results["sets"] if (m := number(entry["mean"])) is not None]
    if trivial is None or not means or max(sign * m for m in means) > sign * trivial:
        return []
    return [
        f"No network beat the best constant prediction of {results['main']}: nothing was learned, "
        "so gains mean nothing. Train longer, or try other learning rates."
    ]


def _rates_at_the_edge(results: Mapping[str, Any], plan: SelectionPlan) -> list[str]:
    rates = plan.settings.lr
    at_edge = [entry for entry in results["sets"] if entry["lr"] in (rates[0], rates[-1])]
    if len(rates) < 3 or not at_edge:
        return []
    return [
        f"The best learning rate is the smallest or largest that was tried for {len(at_edge)} of "
        f"{len(results['sets'])} sets; a wider grid may do better."
    ]
