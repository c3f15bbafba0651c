"""Projected gradients: group trainings foretold by the gradients of one trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from polytask.errors import UserError, unknown
from polytask.relationships import Affinity, subset_affinity
from polytask.relationships.surrogate import WAYS
from polytask.study.folder import Outcome
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._base import Estimator
from polytask.study.relations.estimators._seeds import over_seeds

if TYPE_CHECKING:
    from polytask.study.relations.plan import RelationPlan

STARTS = ("zero", "trained")
DERIVATIVES = ("differences", "forward")


class ProjectedGradients(Estimator):
    """Projected gradients: training in many groups, foretold from one trained network.

    After Grad-TAG (Li, Sharma and Zhang 2024, https://arxiv.org/abs/2409.06091). The network of
    all tasks is taken for linear in its parameters, along random directions; then training on any
    group of tasks is a small problem, and the affinity is what the companion adds to the gain of
    the scored task's validation loss in a group, against training it alone in the same way
    (`polytask.training.projected_gradient_affinity` says how, and where it differs from the paper;
    `polytask.relationships.subset_affinity` how gains become affinities).

    Validation rows chose the network's epoch and judge the groups; the test rows are not read.

    Cost: the training of all tasks, and for each seed directions + head_directions + 1 forward
    passes over up to `rows` rows of both parts, whatever the number of tasks; and a small
    optimisation for every group and task. With several seeds measured, affinities are
    means over networks; the standard error is that of the mean over groups or, from three networks
    on, over networks, whichever is larger.

    Args:
        start: 'zero' (a linear model of the gradients learns from nothing, as in the published
            code) or 'trained' (it begins at the network's outputs, as in the paper).
        directions: random directions of the shared parameters.
        head_directions: of the parameters that a task has for itself.
        derivatives: 'differences' (of two forward passes) or 'forward' (exact, at two to four times
            the cost).
        rows: most training rows and validation rows that are read.
        items: most labelled items of a task that are kept of either; of dense tasks, places.
        subsets: how many groups; by default as many as `cover` takes.
        size: tasks of a group; by default a quarter of them, at least 3.
        cover: groups that every pair is to be in, as far as there are so many; a pair in fewer is
            not known.
        ridge: weight of the squared coordinates.
        aggregate: 'regression' on who is in a group, or the 'mean' over groups, as in the paper,
            which holds what the others in a group did, too.
        shrinkage: of the regression, in groups.

    Raises:
        UserError: a word or number that cannot be.
    """

    needs = "the trained network of all tasks"
    unit = "share of the loss saved"
    gains = True
    records = False

    def __init__(
        self,
        start: Literal["zero", "trained"] = "zero",
        directions: int = 100,
        head_directions: int = 0,
        derivatives: Literal["differences", "forward"] = "differences",
        rows: int = 1000,
        items: int = 2000,
        subsets: int | None = None,
        size: int | None = None,
        cover: int = 3,
        ridge: float = 0.01,
        aggregate: Literal["mean", "regression"] = "regression",
        shrinkage: float = 0.1,
    ) -> None:
        if aggregate not in WAYS:
            raise unknown("aggregate of projected_gradients", aggregate, WAYS)
        if start not in STARTS:
            raise unknown("start of projected_gradients", start, STARTS)
        if derivatives not in DERIVATIVES:
            raise unknown("derivatives of projected_gradients", derivatives, DERIVATIVES)
        for word, value, least in (
            ("directions", directions, 1),
            ("head_directions", head_directions, 0),
            ("rows", rows, 1),
            ("items", items, 1),
            ("subsets", 1 if subsets is None else subsets, 1),
            ("size", 2 if size is None else size, 2),
            ("cover", cover, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(
                    f"projected_gradients: {word} must be a whole number of at least {least}, "
                    f"found {value!r}."
                )
        if not 0 <= ridge < np.inf or not 0 < shrinkage < np.inf:
            raise UserError(
                "projected_gradients: ridge must be a number of at least 0 and shrinkage above 0, "
                f"found {ridge!r} and {shrinkage!r}."
            )
        self.aggregate = aggregate
        self.shrinkage = shrinkage
        self.options = {
            "start": start,
            "directions": directions,
            "head_directions": head_directions,
            "derivatives": derivatives,
            "rows": rows,
            "items": items,
            "subsets": subsets,
            "size": size,
            "cover": cover,
            "ridge": ridge,
        }

    def units(self, plan: RelationPlan, outcomes: Outcomes) -> list[Unit]:
        """The trainings of all tasks, and what is read off each once it has ended."""
        found = [plan.together(seed) for seed in range(plan.seeds_measured)]
        for seed in range(plan.seeds_measured):
            ended = outcomes.get(found[seed].hash)
            if ended is not None and "error" not in ended:
                found.append(self._read(plan, found[seed], seed))
        return found

    def later(self, plan: RelationPlan) -> int:
        """One for every training of all tasks."""
        return plan.seeds_measured

    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """From the records of all seeds that did not fail."""
        trained = [plan.together(seed) for seed in range(plan.seeds_measured)]
        ended = [
            outcomes[unit.hash]
            if "error" in outcomes[unit.hash]
            else outcomes[self._read(plan, unit, seed).hash]
            for seed, unit in enumerate(trained)
        ]
        fine = [outcome for outcome in ended if "error" not in outcome]
        if not fine:
            raise UserError(
                f"there is no network to read gradients of, or it failed: {ended[0]['error']}"
            )
        return over_seeds([self._one(plan, outcome) for outcome in fine])

    def _read(self, plan: RelationPlan, trained: Unit, seed: int) -> Unit:
        config = {
            "networks": {"all": {"id": trained.id, "hash": trained.hash}},
            "surrogate": self.options,
        }
        return plan.extra("surrogate", "projected_gradients", config, seed)

    def _one(self, plan: RelationPlan, outcome: Outcome) -> Affinity:
        """The affinities that one network tells."""
        record = outcome["surrogate"]
        groups = f"{len(record['subsets'])} groups of {record['size']} tasks"
        return subset_affinity(
            [(group["tasks"], group["gains"]) for group in record["subsets"]],
            tasks=plan.tasks,
            aggregate=self.aggregate,
            cover=record["cover"],
            shrinkage=self.shrinkage,
            measured=f"projected gradients, {groups}",
        )
