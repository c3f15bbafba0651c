"""How far the tasks' gradients agree or fight, from the runs of equal weights of a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from polytask.relationships import estimate
from polytask.study.folder import Outcome
from polytask.study.plan import Plan
from polytask.study.settings import Choice


def conflicts(
    plan: Plan, runs: Mapping[str, Sequence[Outcome | None]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """One entry per architecture, of plain `linear` at its chosen rate; and remarks.

    An entry is `{"architecture", "method", "statistic", "tasks", "cosine", "standard_error",
    "null", "groups", "samples", "seeds", "blocks"}`, see `polytask.relationships.estimate`.
    `runs` are the finished runs by contender. An architecture whose runs measured nothing has a
    remark instead; one without a finished run has neither.
    """
    found, remarks = [], []
    for contender in plan.candidates:
        if contender.method != Choice("linear"):
            continue
        records = [run["conflict"] for run in runs[contender.id] if run and run.get("conflict")]
        label = contender.architecture.label
        if any(record["products"] for record in records):
            entry = {"architecture": label, "method": contender.method.name}
            found.append(entry | estimate(records).to_dict())
        elif records:
            remarks.append(
                f"How far the tasks' gradients agree could not be measured for {label}: "
                f"{_cause(records)}."
            )
    return found, remarks


def _cause(records: Sequence[Mapping[str, Any]]) -> str:
    """The most frequent cause for which a step gave nothing."""
    causes: Counter[str] = Counter()
    for record in records:
        causes.update(record["skipped"])
    return causes.most_common(1)[0][0].rstrip(".") if causes else "no step was recorded"
