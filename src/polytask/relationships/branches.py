"""Branch trees: where along an encoder tasks should part, from affinities at several depths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from polytask.errors import UserError, some
from polytask.relationships._choice import real_number, whole_number
from polytask.relationships.affinity import Affinity, as_affinity
from polytask.trees import best_tree, dissimilarities_of

Level = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BranchTree:
    """The groups of tasks at every stage, from the first to the last; they only ever split."""

    levels: tuple[Level, ...]
    """What the architecture `branched` takes as `tree`; names in order, groups in order."""
    cost: float
    """Size in encoders: 1 is one for all, the number of tasks is one for each."""
    dissimilarity: float
    """Sum over stages of that of every two tasks that share the stage."""

    def to_option(self) -> str:
        """One line of YAML: the architecture with this tree, `branched: {tree: [...]}`."""
        # JSON lists are YAML lists, and names in quotes cannot be taken for numbers.
        return f"branched: {{tree: {json.dumps(self.levels, ensure_ascii=False)}}}"


def branch_tree(
    affinities: Sequence[Affinity | Mapping[str, Mapping[str, float]]],
    costs: Sequence[float] | None = None,
    *,
    budget: float = 2.0,
    size: float = 0.0,
    same: float | None = None,
    beam: int = 8,
) -> BranchTree:
    """The tree of stages that keeps together what is alike, no larger than the budget.

    S. Vandenhende et al., "Branched Multi-Task Networks: Deciding What Layers To Share", BMVC
    2020, https://arxiv.org/abs/1904.02920: single-task networks whose representations agree at a
    depth (`rsa`, one `Affinity` per stage) may share the encoder down to there. With dissimilarity
    d = same - affinity, the tree found is that of least

        sum over stages and pairs in one group of d  +  size * cost,    cost <= budget,

    and the smallest of equally good ones. The paper's cost of a stage is instead the mean over
    its groups of the greatest dissimilarity in a group, and its candidates come from spectral
    clustering; see `Branched` for why not here. Given the same affinities, costs, budget and size,
    `Branched(affinity=...)` grows this tree. The answer does not depend on the order of the tasks.

    Args:
        affinities: one per stage of the encoder, from the first to the last, all of the same
            tasks; both directions of a pair are averaged, the diagonal is not used.
        costs: of a copy of each stage, in any unit; None counts stages.
        budget: the greatest size in encoders, at least 1.
        size: what an encoder more must save in dissimilarity.
        same: the affinity of tasks that need not part: 1 for `rsa` and `linear_cka`, as in the
            paper. None is the greatest affinity of any pair and stage, which suits every unit, but
            keeps tasks together that are all alike, be it all unrelated.
        beam: partial trees that the search keeps of a kind. It is exact where fewer exist, and
            slower with more.

    Raises:
        UserError: no affinities, or of different tasks; a pair that was not measured; costs of
            another number; a budget below 1, a size below 0.

    Cost: some T^2 * beam * 16 steps a stage for T tasks; 24 tasks take seconds.
    """
    tables = _tables(affinities)
    names = sorted(tables[0].tasks)
    ordered = [_ordered(table, names, stage) for stage, table in enumerate(tables)]
    prices = _prices(costs, len(tables))
    limit = None if same is None else real_number(same, "same")
    apart = dissimilarities_of(ordered, limit)
    found = best_tree(
        apart,
        prices,
        budget=real_number(budget, "budget"),
        size=real_number(size, "size"),
        beam=whole_number(beam, "beam"),
    )
    within = [
        apart[stage][i][j]
        for stage, groups in enumerate(found)
        for group in groups
        for i, j in combinations(group, 2)
    ]
    copies = [price * len(groups) for price, groups in zip(prices, found, strict=True)]
    return BranchTree(
        levels=tuple(tuple(tuple(names[i] for i in g) for g in groups) for groups in found),
        cost=sum(copies) / sum(prices),
        dissimilarity=sum(within),
    )


def _tables(given: Any) -> list[Affinity]:
    """One table per stage, all of the same tasks."""
    if isinstance(given, Affinity | Mapping) or not isinstance(given, Sequence) or not given:
        found = "none" if isinstance(given, Sequence) else type(given).__name__
        raise UserError(
            f"affinities: expected a list with one Affinity per stage of the encoder, found {found}"
            ". Give [affinity] * stages for one that holds at every depth."
        )
    tables = [as_affinity(table) for table in given]
    for stage, table in enumerate(tables):
        if set(table.tasks) != set(tables[0].tasks):
            raise UserError(
                f"affinities: expected the same tasks at every stage, found "
                f"{some(tables[0].tasks)} at stage 0 and {some(table.tasks)} at stage {stage}."
            )
    return tables


def _ordered(table: Affinity, names: Sequence[str], stage: int) -> list[list[float]]:
    """The numbers in the order of `names`; raises `UserError` for a pair without one."""
    rows = [[table[scored][companion] for companion in names] for scored in names]
    unknown = np.isnan(rows) & ~np.eye(len(names), dtype=bool)
    if unknown.any():
        i, j = np.argwhere(unknown)[0]
        raise UserError(
            f"affinities: expected a number for every two tasks, found none for {names[i]!r} with "
            f"{names[j]!r} at stage {stage}. Leave the task out, or measure the pair."
        )
    return rows


def _prices(costs: Sequence[float] | None, stages: int) -> list[float]:
    if costs is None:
        return [1.0] * stages
    prices = [real_number(cost, "costs", 0.0) for cost in costs]
    if len(prices) != stages or not sum(prices) > 0:
        raise UserError(
            f"costs: expected one number per stage, 0 or more and not all 0, for {stages} stages; "
            f"found {list(costs)!r}."
        )
    return prices
