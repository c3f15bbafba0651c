"""What estimators that read the networks of single tasks have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError
from polytask.study.folder import Outcome
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._base import Estimator

if TYPE_CHECKING:
    from polytask.study.relations.plan import RelationPlan


class Reads(Estimator):
    """An estimator with one run, for each seed, over the networks of single tasks."""

    @abstractmethod
    def reading(self, plan: RelationPlan, networks: dict[str, Any], seed: int) -> Unit:
        """The run that reads these networks, `{task: {"id", "hash"}}`."""

    def units(self, plan: RelationPlan, outcomes: Outcomes) -> list[Unit]:
        """The networks of single tasks and, where all of a seed are trained, what reads them."""
        found: list[Unit] = []
        for seed in range(plan.seeds_measured):
            alone = [plan.alone(task, seed) for task in plan.tasks]
            found += alone
            if all("error" not in outcomes.get(unit.hash, {"error": ""}) for unit in alone):
                found.append(self._reading(plan, seed))
        return found

    def later(self, plan: RelationPlan) -> int:
        """One for each seed."""
        return plan.seeds_measured

    def read(self, plan: RelationPlan, outcomes: Outcomes) -> list[Outcome]:
        """What the runs found, by seed. Raises `UserError` when one of them failed."""
        return [self._read(plan, outcomes, seed) for seed in range(plan.seeds_measured)]

    def _read(self, plan: RelationPlan, outcomes: Outcomes, seed: int) -> Outcome:
        for task in plan.tasks:
            ended = outcomes.get(plan.alone(task, seed).hash, {"error": "it has not ended"})
            if "error" in ended:
                raise UserError(
                    f"the network of {task!r} alone (seed {seed}) could not be trained: "
                    f"{ended['error']}"
                )
        unit = self._reading(plan, seed)
        ended = outcomes.get(unit.hash, {"error": "it has not ended"})
        if "error" in ended:
            raise UserError(f"the run {unit.id} failed: {ended['error']}")
        return ended

    def _reading(self, plan: RelationPlan, seed: int) -> Unit:
        alone = {task: plan.alone(task, seed) for task in plan.tasks}
        networks = {task: {"id": unit.id, "hash": unit.hash} for task, unit in alone.items()}
        return self.reading(plan, networks, seed)
