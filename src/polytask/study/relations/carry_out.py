"""Carrying out a study of relationships: costs, measuring, costs of the groups, check, analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.report.numbers import duration, plural
from polytask.study.carry_out import measured
from polytask.study.executor import Here, Processes
from polytask.study.folder import Outcome
from polytask.study.forecast import START, failures, longest, network
from polytask.study.plan import Unit
from polytask.study.relations.analysis import analyse
from polytask.study.relations.measures import GIVEN, Given
from polytask.study.relations.plan import RelationPlan
from polytask.study.result import StudyResult
from polytask.study.two_stages import TwoStages

if TYPE_CHECKING:
    from polytask.data import Dataset

FOLDER = "affinities"
"""Where the affinities are, one file an estimator."""


class RelationStudy(TwoStages[RelationPlan]):
    """A study of relationships whose settings are known and checked."""

    stage = "measuring affinities"

    def total(self) -> int:
        """Runs at most when none fails, probes included."""
        return self.plan.planned({}) + self.plan.probe_total({})

    def first(self, ended: Mapping[str, Outcome]) -> list[Unit]:
        """The runs that measure."""
        return self.plan.measuring(ended)

    def decided(self, ended: Mapping[str, Outcome]) -> bool:
        """Whether the groups are known."""
        return self.plan.decided(ended)

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
    ended, _ = measured([plan.probe(contender) for contender in _ends(plan)], dataset, pool)
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
    runs = each if plan.relation.check else 0
    rows = [
        network(c.id, runs, outcomes.get(plan.probe(c).hash, {}), s.epochs) for c in _ends(plan)
    ]
    wall = START + total * longest(rows) / workers
    networks = plan.probe_total({}) if plan.relation.check else 0
    checked = (
        f", at most {plural(networks, 'network')} x {each} to check the groups"
        if plan.relation.check
        else ""
    )
    sentence = (
        f"At most {plural(total, 'run')} ({measuring} to measure affinities{checked}), at most "
        f"about {duration(wall)} with {workers} at once. Nothing has been trained.{failures(rows)}"
    )
    return {
        "runs": total,
        "networks": rows,
        "measuring_runs": measuring,
        "checked_networks": networks,
        "workers": workers,
        "minutes": wall / 60,
        "sentence": sentence,
    }
