"""Carrying out a study of relationships: costs, measuring, costs of the groups, check, analysis."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.report.numbers import duration, plural
from polytask.study import setup
from polytask.study.carry_out import Runs
from polytask.study.executor import Here, Processes
from polytask.study.folder import Outcome
from polytask.study.forecast import OVERHEAD, START
from polytask.study.plan import Unit
from polytask.study.progress import Progress
from polytask.study.relations.analysis import analyse
from polytask.study.relations.measures import GIVEN, Given
from polytask.study.relations.plan import RelationPlan
from polytask.study.result import StudyResult

if TYPE_CHECKING:
    from polytask.data import Dataset

FOLDER = "affinities"
"""Where the affinities are, one file an estimator."""


class RelationStudy(Runs[RelationPlan]):
    """A study of relationships whose settings are known and checked."""

    def total(self) -> int:
        """Runs at most when none fails, probes included."""
        return self.plan.planned({}) + self.plan.probe_total({})

    def done(self, ended: Mapping[str, Outcome]) -> int:
        """How many of these the folder holds already."""
        known = [*self.plan.probes(ended), *self.plan.measuring(ended)]
        for contender in self.plan.contenders(ended).values():
            known += self.plan.units(contender, ended)
        return len({unit.hash for unit in known} & set(ended))

    def carry_out(self, pool: Processes | Here, ended: dict[str, Outcome], shown: Progress) -> None:
        """Costs are measured alone, so they are before whatever needs all processors."""
        plan = self.plan
        common: dict[str, Any] = {"deadline": self.deadline, "watch": shown.ended}

        def probes(known: dict[str, Outcome]) -> list[Unit]:
            return [unit for unit in plan.probes(known) if unit.hash not in known]

        def until_decided(known: dict[str, Outcome]) -> list[Unit]:
            return [] if plan.decided(known) else plan.startable(known)

        shown.say("measuring costs")
        pool.run(probes, self.out, ended, workers=1, **common)
        shown.say("measuring affinities")
        pool.run(until_decided, self.out, ended, **common)
        shown.say("measuring costs")
        pool.run(probes, self.out, ended, workers=1, **common)
        shown.say("training")
        pool.run(plan.startable, self.out, ended, **common)

    def analysis(self, ended: Mapping[str, Outcome]) -> dict[str, Any]:
        """What `results.json` holds besides its heading."""
        return analyse(self.plan, self.facts, ended)

    def _open(self) -> None:
        """Keep affinities that were given at once: study.yaml names their file."""
        super()._open()
        for measure in self.plan.measures:
            if isinstance(measure.estimator, Given):
                measure.estimator.table.save(self.out / FOLDER / f"{GIVEN}.json")

    def _conclude(self, ended: dict[str, Outcome]) -> StudyResult:
        """Write the affinities down, too, one file an estimator."""
        found = {}
        for measure in self.plan.measures:
            told = self.plan.told(measure, ended)
            if told is not None and told.affinity is not None:
                found[measure.name] = told.affinity
                told.affinity.save(self.out / FOLDER / f"{measure.name}.json")
        return replace(super()._conclude(ended), affinities=found)


def dry(plan: RelationPlan, dataset: Dataset, pool: Processes | Here, folder: Path) -> StudyResult:
    """Probe two networks in a temporary folder and say what the study would take at most."""
    ended: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="polytask-") as temporary:
        setup.save(dataset, Path(temporary))
        probes = [plan.probe(contender) for contender in _ends(plan)]
        pool.run(
            lambda known: [unit for unit in probes if unit.hash not in known],
            Path(temporary),
            ended,
            workers=1,
        )
    found = forecast(plan, ended, pool.workers)
    return StudyResult({"schema": 1, "kind": "relate", "plan": found}, folder, None,
                       found["sentence"])  # fmt: skip


def _ends(plan: RelationPlan) -> list[Any]:
    """The smallest and the largest of the networks."""
    return [plan.contender(plan.tasks[:1]), plan.everyone]


def forecast(plan: RelationPlan, outcomes: dict[str, Outcome], workers: int) -> dict[str, Any]:
    """Counts of runs and the time they would take; every run as long as the longest would."""
    s = plan.settings
    each = len(s.lr) + s.seeds - 1
    total = plan.planned({})
    measuring = len(plan.measuring({}))
    measuring += sum(measure.estimator.later(plan) for measure in plan.measures)
    seconds, rows, failed = [], [], []
    for contender in _ends(plan):
        found = outcomes.get(plan.probe(contender).hash, {})
        row: dict[str, Any] = {"id": contender.id, "runs": each if plan.relation.check else 0}
        if "error" in found:
            row["error"] = found["error"]
            failed.append(contender.id)
        elif found:
            steps = found["steps_per_epoch"] * found["step_seconds"]
            seconds.append(OVERHEAD + s.epochs * (steps + found["evaluation_seconds"]))
            row |= {
                "run_seconds": seconds[-1],
                "step_seconds": found["step_seconds"],
                "parameters": found["parameters"],
                "peak_memory_mb": found["peak_memory_mb"],
            }
        rows.append(row)
    wall = START + total * max(seconds, default=0.0) / workers
    networks = plan.probe_total({}) if plan.relation.check else 0
    checked = (
        f", at most {plural(networks, 'network')} x {each} to check the groups"
        if plan.relation.check
        else ""
    )
    sentence = (
        f"At most {plural(total, 'run')} ({measuring} to measure affinities{checked}), at most "
        f"about {duration(wall)} with {workers} at once. Nothing has been trained."
    )
    if failed:
        sentence += f" The probe failed for {', '.join(failed)}."
    return {
        "runs": total,
        "networks": rows,
        "measuring_runs": measuring,
        "checked_networks": networks,
        "workers": workers,
        "minutes": wall / 60,
        "sentence": sentence,
    }
