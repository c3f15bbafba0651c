"""Carrying out a selection: costs, screen, costs of what the screen chose, proof, analysis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.report.numbers import duration, plural
from polytask.study.carry_out import measured
from polytask.study.executor import Here, Processes
from polytask.study.folder import Outcome
from polytask.study.forecast import START, failures, longest, network
from polytask.study.plan import Unit
from polytask.study.result import StudyResult
from polytask.study.selection.analysis import analyse
from polytask.study.selection.plan import SelectionPlan
from polytask.study.two_stages import TwoStages

if TYPE_CHECKING:
    from polytask.data import Dataset


class SelectionStudy(TwoStages[SelectionPlan]):
    """A selection whose settings are known and checked."""

    stage = "screening the candidates"

    def total(self) -> int:
        """Runs when none fails, probes included."""
        return self.plan.total + self.plan.probe_total

    def first(self, ended: Mapping[str, Outcome]) -> list[Unit]:
        """The runs of the screen."""
        return self.plan.screening()

    def decided(self, ended: Mapping[str, Outcome]) -> bool:
        """Whether it is known who goes on."""
        return self.plan.finalists(ended) is not None

    def analysis(self, ended: Mapping[str, Outcome]) -> dict[str, Any]:
        """What `results.json` holds besides its heading."""
        return analyse(self.plan, self.facts, ended)


def dry(plan: SelectionPlan, dataset: Dataset, pool: Processes | Here, folder: Path) -> StudyResult:
    """Probe two networks in a temporary folder and say what the selection would take."""
    ends = (plan.alone, plan.everyone)
    ended, _ = measured([plan.probe(contender) for contender in ends], dataset, pool)
    found = forecast(plan, ended, pool.workers)
    return StudyResult({"schema": 1, "kind": "auxiliary", "plan": found}, folder, None,
                       found["sentence"])  # fmt: skip


def forecast(plan: SelectionPlan, outcomes: dict[str, Outcome], workers: int) -> dict[str, Any]:
    """Counts of runs and the time they would take; every run as long as the longest would."""
    s, selection = plan.settings, plan.selection
    each = len(s.lr) + s.seeds - 1
    sets = plan.probe_total
    screening = plan.total - sets * each
    rows = []
    base = outcomes.get(plan.probe(plan.alone).hash, {}).get("step_seconds")
    for contender in (plan.alone, plan.everyone):
        found = outcomes.get(plan.probe(contender).hash, {})
        relative = found.get("step_seconds", 0.0) / base if base else None
        rows.append(network(contender.id, each, found, s.epochs, relative=relative))
    others = max(0, sets - len(rows))
    if others:
        rows.append({"id": f"{plural(others, 'set')} of the finalists", "runs": others * each})
    wall = START + plan.total * longest(rows) / workers
    finalists = min(selection.finalists, len(selection.candidates))
    sentence = (
        f"{plan.total} runs ({screening} more to screen {len(selection.candidates)} candidates, "
        f"{sets} sets of helpers of {finalists} finalists x {each}), at most about "
        f"{duration(wall)} with {workers} at once. Nothing has been trained.{failures(rows)}"
    )
    return {
        "runs": plan.total,
        "networks": rows,
        "sets": sets,
        "screening_runs": screening,
        "workers": workers,
        "minutes": wall / 60,
        "every_candidate": plan.total_for(len(selection.candidates)),
        "sentence": sentence,
    }
