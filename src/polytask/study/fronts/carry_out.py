"""Carrying out a study of a front: costs, trainings, analysis."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.report.numbers import duration, plural
from polytask.study import setup
from polytask.study.carry_out import Study
from polytask.study.executor import Here, Processes
from polytask.study.folder import Outcome
from polytask.study.forecast import OVERHEAD, START
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
    ended: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="polytask-") as temporary:
        setup.save(dataset, Path(temporary))
        probes = plan.probes()
        pool.run(
            lambda known: [unit for unit in probes if unit.hash not in known],
            Path(temporary),
            ended,
            workers=1,
        )
    found = forecast(plan, ended, pool.workers)
    return StudyResult({"schema": 1, "kind": KIND, "plan": found}, folder, None, found["sentence"])


def forecast(plan: ParetoPlan, outcomes: dict[str, Outcome], workers: int) -> dict[str, Any]:
    """Counts of runs and the time they would take."""
    seconds, rows, failed = 0.0, [], []
    for contender in plan.contenders:
        found = outcomes.get(plan.probe(contender).hash, {})
        row: dict[str, Any] = {"id": contender.id, "runs": plan.runs_of(contender)}
        if "error" in found:
            row["error"] = found["error"]
            failed.append(contender.id)
        elif found:
            steps = found["steps_per_epoch"] * found["step_seconds"]
            each = OVERHEAD + plan.settings.epochs * (steps + found["evaluation_seconds"])
            seconds += row["runs"] * each
            row |= {
                "run_seconds": each,
                "step_seconds": found["step_seconds"],
                "parameters": found["parameters"],
                "peak_memory_mb": found["peak_memory_mb"],
            }
        rows.append(row)
    wall = START + seconds / workers
    sentence = (
        f"{plural(plan.total, 'run')} ({plural(len(plan.points), 'point')} and "
        f"{plural(len(plan.singles), 'single-task network')}), about {duration(wall)} with "
        f"{workers} at once. Nothing has been trained."
    )
    if failed:
        sentence += f" The probe failed for {', '.join(failed)}."
    return {
        "runs": plan.total,
        "networks": rows,
        "workers": workers,
        "minutes": wall / 60,
        "sentence": sentence,
    }
