"""What every estimator of a study of relationships needs, costs and says, for a table of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polytask.report.cells import NOTHING, Cell
from polytask.report.cost_table import measured
from polytask.report.numbers import (
    column_decimals,
    number,
    plural,
    ratio,
    reason,
    signed,
)
from polytask.report.relation_results import Estimator, Relation, why_not
from polytask.report.results import mapping


@dataclass(frozen=True)
class EstimatorRow:
    """One line of the table of estimators, in words."""

    label: str
    decides: bool
    needs: str
    cost: Cell
    spent: str
    groups: tuple[tuple[str, ...], ...]
    why: str
    """Why there are no groups."""
    gap: str
    agreement: Cell
    worth: Cell


def estimator_rows(relation: Relation) -> list[EstimatorRow]:
    """What every estimator needs, costs and says."""
    worths = [number(entry.raw.get("grouping_worth")) for entry in relation.estimators]
    decimals = min(2, column_decimals(worths))
    return [
        _row(entry, NOTHING if w is None else Cell(signed(w, decimals), value=w))
        for entry, w in zip(relation.estimators, worths, strict=True)
    ]


def _row(entry: Estimator, worth: Cell) -> EstimatorRow:
    cost, grouping = mapping(entry.raw.get("cost")), mapping(entry.raw.get("grouping"))
    times = number(cost.get("trainings"))
    why = entry.why if entry.affinity is None else why_not(grouping, "no groups yet")
    return EstimatorRow(
        label=entry.label,
        decides=entry.decides,
        needs=str(entry.raw.get("needs") or ""),
        cost=measured(times, ratio(times)),
        spent=_spent(cost),
        groups=entry.groups.members,
        why="" if entry.groups.members else why,
        gap=_gap(entry, grouping),
        agreement=_agreement(entry.raw.get("agreement")),
        worth=worth,
    )


def _spent(cost: Mapping[str, Any]) -> str:
    """Runs beyond the training of all tasks together."""
    runs = number(cost.get("runs"))
    if runs is None:
        return ""
    return "no run of its own" if not runs else f"{plural(round(runs), 'run')} of its own"


def _gap(entry: Estimator, grouping: Mapping[str, Any]) -> str:
    """How far the best groups may be from these, '' where they are proved best."""
    gap = number(grouping.get("gap"))
    if not gap or entry.affinity is None:
        return ""
    return f"not proved best: another grouping could be better by {entry.scale.full(gap)} at most"


def _agreement(value: Any) -> Cell:
    """Spearman's rank correlation with pairwise training."""
    entry = mapping(value)
    found = number(entry.get("spearman"))
    if found is None:
        why = reason(value) if "undefined" in entry else None
        return Cell("undefined", why or "", tone="none") if why else NOTHING
    low, high = number(entry.get("low")), number(entry.get("high"))
    inside = "" if low is None or high is None else f"[{signed(low, 2)}, {signed(high, 2)}]"
    pairs = number(entry.get("pairs"))
    title = "" if pairs is None else f"over {plural(round(pairs), 'affinity').replace('ys', 'ies')}"
    return Cell(signed(found, 2), inside, found, title)
