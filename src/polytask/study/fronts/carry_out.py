"""Carrying out a study of a front: costs, trainings, analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.report.numbers import duration, plural
from polytask.study.carry_out import Study, measured
from polytask.study.executor import Here, Processes
from polytask.study.folder import Outcome
from polytask.study.forecast import START, failures, network
from polytask.study.fronts.analysis import KIND, analyse
from polytask.study.fronts.plan import ParetoPlan
from polytask.study.result import StudyResult

if TYPE_CHECKING:
    from polytask.data import Dataset


@dataclass
class ParetoStudy(Study):
    """A front whose settings are known and checked."""

    reference: dict[str, float] | None = field(default=None, kw_only=True)

    def analysis(self, ended: Mapping[str, Outcome]) -> dict[str, Any]:
        """What `results.json` holds besides its heading."""
        assert isinstance(self.plan, ParetoPlan), "made so by `pareto`"
        return analyse(self.plan, self.facts, ended, self.reference)


def dry(plan: ParetoPlan, dataset: Dataset, pool: Processes | Here, folder: Path) -> StudyResult:
    """Probe in a temporary folder and say what the study would take."""
    ended, _ = measured(plan.probes(), dataset, pool)
    found = forecast(plan, ended, pool.workers)
    return StudyResult({"schema": 1, "kind": KIND, "plan": found}, folder, None, found["sentence"])


def forecast(plan: ParetoPlan, outcomes: dict[str, Outcome], workers: int) -> dict[str, Any]:
    """Counts of runs and the time they would take."""
    rows = [
        network(
            contender.id,
            plan.runs_of(contender),
            outcomes.get(plan.probe(contender).hash, {}),
            plan.settings.epochs,
        )
        for contender in plan.contenders
    ]
    seconds = sum(row["runs"] * row.get("run_seconds", 0.0) for row in rows)
    wall = START + seconds / workers
    sentence = (
        f"{plural(plan.total, 'run')} ({plural(len(plan.points), 'point')} and "
        f"{plural(len(plan.singles), 'single-task network')}), about {duration(wall)} with "
        f"{workers} at once. Nothing has been trained.{failures(rows)}"
    )
    return {
        "runs": plan.total,
        "networks": rows,
        "workers": workers,
        "minutes": wall / 60,
        "sentence": sentence,
    }
