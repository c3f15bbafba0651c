"""Carrying out a selection: costs, screen, costs of what the screen chose, proof, analysis."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.report.numbers import duration, plural
from polytask.study import setup
from polytask.study.carry_out import Runs
from polytask.study.executor import Here, Processes
from polytask.study.folder import Outcome
from polytask.study.forecast import OVERHEAD, START
from polytask.study.progress import Progress
from polytask.study.result import StudyResult
from polytask.study.selection.analysis import analyse
from polytask.study.selection.plan import SelectionPlan

if TYPE_CHECKING:
    from polytask.data import Dataset


class SelectionStudy(Runs[SelectionPlan]):
    """A selection whose settings are known and checked."""

    def total(self) -> int:
        """Runs when none fails, probes included."""
        return self.plan.total + self.plan.probe_total

    def done(self, ended: Mapping[str, Outcome]) -> int:
        """How many of these the folder holds already."""
        known = [*self.plan.probes(ended), *self.plan.screening()]
        for contender in self.plan.contenders(ended).values():
            known += self.plan.units(contender, ended)
        return len({unit.hash for unit in known} & set(ended))

    def carry_out(self, pool: Processes | Here, ended: dict[str, Outcome], shown: Progress) -> None:
        """Costs are measured alone, so they are before whatever needs all processors."""
        plan = self.plan
        common: dict[str, Any] = {"deadline": self.deadline, "watch": shown.ended}

        def probes(known: dict[str, Outcome]) -> list[Any]:
            return [unit for unit in plan.probes(known) if unit.hash not in known]

        def until_screened(known: dict[str, Outcome]) -> list[Any]:
            return [] if plan.finalists(known) is not None else plan.startable(known)

        shown.say("measuring costs")
        pool.run(probes, self.out, ended, workers=1, **common)
        shown.say("screening the candidates")
        pool.run(until_screened, self.out, ended, **common)
        shown.say("measuring costs")
        pool.run(probes, self.out, ended, workers=1, **common)
        shown.say("training")
        pool.run(plan.startable, self.out, ended, **common)

    def analysis(self, ended: Mapping[str, Outcome]) -> dict[str, Any]:
        """What `results.json` holds besides its heading."""
        return analyse(self.plan, self.facts, ended)


def dry(plan: SelectionPlan, dataset: Dataset, pool: Processes | Here, folder: Path) -> StudyResult:
    """Probe two networks in a temporary folder and say what the selection would take."""
    ended: dict[str, Outcome] = {}
    ends = (plan.alone, plan.everyone)
    with tempfile.TemporaryDirectory(prefix="polytask-") as temporary:
        setup.save(dataset, Path(temporary))
        probes = [plan.probe(contender) for contender in ends]
        pool.run(
            lambda known: [unit for unit in probes if unit.hash not in known],
            Path(temporary),
            ended,
            workers=1,
        )
    found = forecast(plan, ended, pool.workers)
    return StudyResult({"schema": 1, "kind": "auxiliary", "plan": found}, folder, None,
                       found["sentence"])  # fmt: skip


def forecast(plan: SelectionPlan, outcomes: dict[str, Outcome], workers: int) -> dict[str, Any]:
    """Counts of runs and the time they would take; every run as long as the longest would."""
    s, selection = plan.settings, plan.selection
    each = len(s.lr) + s.seeds - 1
    sets = plan.probe_total
    screening = plan.total - sets * each
    seconds, rows, failed = [], [], []
    base = outcomes.get(plan.probe(plan.alone).hash, {}).get("step_seconds")
    for contender in (plan.alone, plan.everyone):
        found = outcomes.get(plan.probe(contender).hash, {})
        row: dict[str, Any] = {"id": contender.id, "runs": each}
        if "error" in found:
            row["error"] = found["error"]
            failed.append(contender.id)
        elif found:
            steps = found["steps_per_epoch"] * found["step_seconds"]
            seconds.append(OVERHEAD + s.epochs * (steps + found["evaluation_seconds"]))
            row |= {
                "run_seconds": seconds[-1],
                "step_seconds": found["step_seconds"],
                "relative": found["step_seconds"] / base if base else None,
                "parameters": found["parameters"],
                "peak_memory_mb": found["peak_memory_mb"],
            }
        rows.append(row)
    others = max(0, sets - len(rows))
    if others:
        rows.append({"id": f"{plural(others, 'set')} of the finalists", "runs": others * each})
    wall = START + plan.total * max(seconds, default=0.0) / workers
    finalists = min(selection.finalists, len(selection.candidates))
    sentence = (
        f"{plan.total} runs ({screening} more to screen {len(selection.candidates)} candidates, "
        f"{sets} sets of helpers of {finalists} finalists x {each}), at most about "
        f"{duration(wall)} with {workers} at once. Nothing has been trained."
    )
    if failed:
        sentence += f" The probe failed for {', '.join(failed)}."
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
