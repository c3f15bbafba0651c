"""The runs of a study of relationships: what measures affinities, then what checks the groups.

Everything asked of the plan is a function of settings and outcomes, as in `polytask.study.plan`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from polytask.errors import UserError
from polytask.relationships import Affinity, Grouping, group_tasks
from polytask.relationships.branches import BranchTree, branch_tree
from polytask.study.ledger import waiting
from polytask.study.plan import Contender, Outcomes, Unit
from polytask.study.relations.budget import priced_networks, prices
from polytask.study.relations.groups import (
    BRANCHED,
    Arrangement,
    all_in_one,
    branched,
    each_alone,
    random_arrangements,
    recommended,
)
from polytask.study.relations.measures import Measure, measures
from polytask.study.relations.settings import Relation
from polytask.study.relations.trainings import Trainings
from polytask.study.settings import Choice

BUDGET = 2.0
"""The greatest size of a tree of branches, in encoders."""


@dataclass(frozen=True)
class Told:
    """What one estimator told; where something is missing, `reason` says why."""

    affinity: Affinity | None = None
    grouping: Grouping | None = None
    reason: str = ""


class RelationPlan(Trainings):
    """Which runs there are. Outcomes may only grow while one plan lives.

    **Measuring**, at the middle learning rate (of an even number, the upper): one training of all
    tasks together with equal weights, which records what the estimators ask for, and whatever
    runs they take besides. It decides the groups.
    **Check**: every network of an arrangement (a group of tasks, a task alone) is searched over
    the learning rates on seed 0 and runs its other seeds at the rate that did best on validation.
    A network that several arrangements have, or that has been trained to measure, is trained once.
    Tasks alone and all in one are known from the start and need not wait for the measuring.
    """

    def __init__(self, relation: Relation, given: Affinity | None = None) -> None:
        super().__init__(relation, measures(relation, given))
        self._told: dict[str, Told] = {}
        self._tree: BranchTree | str | None = None
        self._randoms: list[Arrangement] | None = None

    def told(self, measure: Measure, outcomes: Outcomes) -> Told | None:
        """What an estimator told; None until its runs have ended."""
        if measure.name not in self._told:
            units = [*self.measuring_units(measure, outcomes), *self.pricing()]
            if any(unit.hash not in outcomes for unit in units):
                return None
            self._told[measure.name] = self._read(measure, outcomes)
        return self._told[measure.name]

    def decided(self, outcomes: Outcomes) -> bool:
        """Whether the groups, and the tree where one is wanted, are known or cannot be."""
        waiting = self.relation.branches is not None and self.tree(outcomes) is None
        return not waiting and self.told(self.measures[0], outcomes) is not None

    def tree(self, outcomes: Outcomes) -> BranchTree | str | None:
        """The tree of branches, or why there is none; None while it is not known, or not wanted."""
        for measure in self.measures:
            if self._tree is None and measure.name == self.relation.branches:
                told = self.told(measure, outcomes)
                if told is not None:
                    self._tree = self._grown(measure, told, outcomes)
        return self._tree

    def recommended(self, outcomes: Outcomes) -> Arrangement | None:
        """The groups of the estimator that decides; None while, or because, there are none."""
        told = self.told(self.measures[0], outcomes)
        return None if told is None or told.grouping is None else recommended(told.grouping)

    def arrangements(self, outcomes: Outcomes) -> list[Arrangement]:
        """What is checked, as far as it is known by now; the recommended one first."""
        if not self.relation.check:
            return []
        ours = self.recommended(outcomes)
        found = [all_in_one(self.tasks), each_alone(self.tasks)]
        if ours is not None:
            found = [ours, *found, *self._drawn(ours)]
        tree = self.tree(outcomes)
        if isinstance(tree, BranchTree):
            levels = [[list(group) for group in level] for level in tree.levels]
            found.append(branched(self.tasks, Choice(BRANCHED, {"tree": levels})))
        return found

    def _drawn(self, ours: Arrangement) -> list[Arrangement]:
        """The random groupings that the recommended one is compared with."""
        if self._randoms is None:
            self._randoms = random_arrangements(
                self.tasks,
                len(ours.groups),
                self.relation.randoms,
                singles=self.relation.worth_alone(self.measures[0].gains) is not None,
                like=ours,
                seed=self.settings.fingerprint,
            )
        return self._randoms

    def contenders(self, outcomes: Outcomes) -> dict[str, Contender]:
        """The networks of the check that are known by now, by id: tasks alone first."""
        known = self.arrangements(outcomes)
        found = [self.serving(a, group) for a in known for group in a.groups]
        found.sort(key=lambda contender: (not contender.single, contender != self.everyone))
        return {contender.id: contender for contender in found}

    def serving(self, arrangement: Arrangement, group: Iterable[str]) -> Contender:
        """The network of one group of an arrangement."""
        return self.contender(group, arrangement.architecture)

    def measuring(self, outcomes: Outcomes) -> list[Unit]:
        """The runs that measure, as far as they are known by now, each once."""
        units = [u for m in self.measures for u in self.measuring_units(m, outcomes)]
        return list({unit.hash: unit for unit in units}.values())

    def measuring_units(self, measure: Measure, outcomes: Outcomes) -> list[Unit]:
        """The runs of one estimator that are known by now, the recording ones among them."""
        estimator = measure.estimator
        recorded = range(self.seeds_measured) if estimator.records else ()
        return [*map(self.together, recorded), *estimator.units(self, outcomes)]

    def startable(self, outcomes: Outcomes) -> list[Unit]:
        """Runs that could start now and have not ended: measuring first, then seed by seed."""
        rest = [u for c in self.contenders(outcomes).values() for u in self.units(c, outcomes)]
        return waiting(self.measuring(outcomes), rest, outcomes)

    def probes(self, outcomes: Outcomes) -> list[Unit]:
        """The cost probes that are known by now: of the check's networks, and of a budget."""
        checked = [self.probe(contender) for contender in self.contenders(outcomes).values()]
        return list({unit.hash: unit for unit in [*self.pricing(), *checked]}.values())

    def pricing(self) -> list[Unit]:
        """The cost probes that a budget takes; none for a number of networks."""
        return [self.probe(contender) for contender in priced_networks(self)]

    def planned(self, outcomes: Outcomes) -> int:
        """How many runs there will be at most when none fails, probes left out.

        At most, because groups that are not known yet may coincide with others. Once all is known
        it is the number of runs.
        """
        s, contenders = self.settings, self.contenders(outcomes).values()
        each = len(s.lr) + s.seeds - 1
        known = {unit.hash for unit in self.measuring(outcomes)}
        waiting = 0
        for measure in self.measures:
            if self.told(measure, outcomes) is None:
                expected = len(self.measuring_units(measure, {})) + measure.estimator.later(self)
                waiting += max(0, expected - len(self.measuring_units(measure, outcomes)))
        for contender in contenders:
            units = self.units(contender, outcomes)
            known |= {unit.hash for unit in units}
            if len(units) < len(s.lr) or any(u.hash not in outcomes for u in units[: len(s.lr)]):
                waiting += each - len(units)
        return len(known) + waiting + self._unknown_networks(outcomes) * each

    def probe_total(self, outcomes: Outcomes) -> int:
        """How many cost probes there will be at most."""
        return len(self.probes(outcomes)) + self._unknown_networks(outcomes)

    def _unknown_networks(self, outcomes: Outcomes) -> int:
        """How many networks may join the check."""
        if not self.relation.check:
            return 0
        found = 0
        if self.told(self.measures[0], outcomes) is None:
            most = min(self.relation.max_groups, len(self.tasks))
            found = (1 + self.relation.randoms) * most
        return found + (self.relation.branches is not None and self.tree(outcomes) is None)

    def _read(self, measure: Measure, outcomes: Outcomes) -> Told:
        try:
            affinity = measure.estimator.affinity(self, outcomes)
        except UserError as error:
            return Told(reason=str(error))
        relation = self.relation
        worth = relation.worth_alone(measure.gains)
        try:
            known = prices(self, outcomes)
            assert known is not None, "told waits for the probes"
            found = group_tasks(
                affinity,
                relation.max_groups,
                worth,
                budget=relation.budget,
                network_cost=known.network,
                task_costs=known.tasks,
            )
            return Told(affinity, found)
        except UserError as error:
            return Told(affinity, reason=str(error))

    def _grown(self, measure: Measure, told: Told, outcomes: Outcomes) -> BranchTree | str:
        if told.affinity is None:
            return told.reason
        try:
            levels = measure.estimator.levels(self, outcomes)
            costs = measure.estimator.costs(self, outcomes)
            return branch_tree(levels, costs, budget=BUDGET, same=1.0)
        except UserError as error:
            return str(error)
