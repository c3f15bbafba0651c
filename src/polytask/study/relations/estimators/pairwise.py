"""Pairwise training: every two tasks in a network of their own, against each alone."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from polytask.errors import UserError
from polytask.relationships import Affinity
from polytask.study.folder import Outcome, number
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._base import Estimator
from polytask.study.statistics import gains, spread

if TYPE_CHECKING:
    from polytask.study.relations.plan import RelationPlan


class Pairwise(Estimator):
    """Pairwise training: how much better a task scores when trained with another, measured.

    Every pair of tasks gets a network, with the study's method and way of sharing, and so does
    every task alone, all at the middle learning rate. The affinity is the gain of the scored task's
    primary metric on validation, in percent of its mean score alone, positive = better, paired by
    seed; the standard error is that of the mean over the seeds. As far as a group behaves like the
    mean of its pairs (Standley et al. 2020, https://arxiv.org/abs/1905.07553, section 6.2) this is
    what other estimators try to foresee.

    A network of a pair chooses its epoch for both tasks, one alone for its own. A run that failed
    is left out; a pair without any seed is not known.

    Cost: T + T (T - 1) / 2 trainings a seed, of which the check uses those it has, too.

    Args:
        seeds: how many; the study's by default.

    Raises:
        UserError: no whole number above 0.
    """

    needs = "a training for every task and every pair"
    unit = "gain in percent"
    gains = True
    records = False

    def __init__(self, seeds: int | None = None) -> None:
        if seeds is not None and (not isinstance(seeds, int) or seeds < 1):
            raise UserError(f"seeds must be a whole number above 0, found {seeds!r}.")
        self.seeds = seeds

    def units(self, plan: RelationPlan, outcomes: Outcomes) -> list[Unit]:
        """Tasks alone, seed by seed, then the pairs whose reference is in."""
        seeds = range(self._seeds(plan))
        found: list[Unit | None] = [plan.alone(task, seed) for seed in seeds for task in plan.tasks]
        found += [
            self._pair(plan, pair, seed, outcomes)
            for seed in seeds
            for pair in itertools.combinations(plan.tasks, 2)
        ]
        return [unit for unit in found if unit is not None]

    def later(self, plan: RelationPlan) -> int:
        """The pairs."""
        return math.comb(len(plan.tasks), 2) * self._seeds(plan)

    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """Mean gains and their errors."""
        size, seeds = len(plan.tasks), range(self._seeds(plan))
        values, errors = np.full((2, size, size), np.nan)
        np.fill_diagonal(values, 0.0)
        for pair in itertools.combinations(plan.tasks, 2):
            units = [self._pair(plan, pair, seed, outcomes) for seed in seeds]
            together = [None if unit is None else outcomes[unit.hash] for unit in units]
            for scored, companion in (pair, pair[::-1]):
                alone = [outcomes[plan.alone(scored, seed).hash] for seed in seeds]
                direction = plan.settings.tasks[scored]["direction"]
                ours = [_score(run, scored) for run in together]
                theirs = [_score(run, scored) for run in alone]
                known = [gain for gain in gains(ours, theirs, direction) if gain is not None]
                mean, sd = spread(known)
                place = plan.place(scored), plan.place(companion)
                values[place] = np.nan if mean is None else mean
                errors[place] = np.nan if sd is None else sd / math.sqrt(len(known))
        return Affinity(
            plan.tasks,
            values,
            errors,
            measured=f"pairwise training, {len(seeds)} seed{'s' * (len(seeds) > 1)}",
            cost=f"{len(seeds) * (size + math.comb(size, 2))} trainings of one or two tasks",
        )

    def _seeds(self, plan: RelationPlan) -> int:
        return self.seeds or plan.settings.seeds

    @staticmethod
    def _pair(
        plan: RelationPlan, pair: tuple[str, ...], seed: int, outcomes: Outcomes
    ) -> Unit | None:
        return plan.unit(plan.contender(pair), plan.rate, seed, outcomes)


def _score(run: Outcome | None, task: str) -> float | None:
    """The validation score of a run; None for one that failed."""
    if run is None or "error" in run:
        return None
    return number(run["selected"]["val"][task])
