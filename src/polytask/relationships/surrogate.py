"""Affinities of pairs from how tasks fared in larger groups, measured or predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polytask.errors import UserError, unknown
from polytask.relationships.affinity import Affinity, Array

WAYS = ("mean", "regression")

Result = tuple[Sequence[str], Mapping[str, float | None]]
"""A group's tasks, and the gain of each of them against training alone; None is unknown."""


@dataclass(frozen=True)
class _Group:
    """One group: who is in it, [T] of 0 and 1, and every task's gain, [T], NaN where unknown."""

    members: Array
    gains: Array


def subset_affinity(
    results: Sequence[Result],
    *,
    tasks: Sequence[str] | None = None,
    aggregate: str = "mean",
    cover: int = 1,
    shrinkage: float = 0.1,
    measured: str = "",
    cost: float | str | None = None,
) -> Affinity:
    """How much each task helps each other one, from the gains of tasks in groups of any size.

    `aggregate="mean"`: the affinity of i with j is the mean gain of i over the groups that hold
    both. So do D. Li, H. Ju, A. Sharma and H. R. Zhang, "Boosting Multitask Learning on Graphs
    through Higher-Order Task Affinities", KDD 2023, https://arxiv.org/abs/2306.14009, and D. Li,
    A. Sharma and H. R. Zhang, "Scalable Multitask Learning Using Gradient-based Estimation of Task
    Affinity", KDD 2024, https://arxiv.org/abs/2409.06091 (as recalled; they average scores, here
    gains). What the other members of the groups do is in it: the standard error is the spread of
    the groups' gains over the root of their number, NaN for a single group.

    `aggregate="regression"`: the gain of i in the group S is taken for the sum of effects b_ij of
    the others in S, fitted to all groups that hold i,

        minimise  sum_S (gain_i(S) - sum_(j in S, not i) b_ij)² + shrinkage |b_i|²,

    after the surrogate models of D. Li, H. L. Nguyen and H. R. Zhang, "Identification of Negative
    Transfers in Multitask Learning Using Surrogate Models", TMLR 2023,
    https://arxiv.org/abs/2303.14582 (as recalled; there is no constant here, because the gain of a
    task alone is 0). Effects of companions that came along are told apart. Standard errors are
    those of ridge regression with equal noise; NaN where no freedom is left.

    The diagonal is 0: a task alone gains nothing against itself.

    Args:
        results: (tasks of the group, {task: gain}), where a gain is a relative improvement
            (fraction) or any other number that is 0 for training alone; None or NaN, or a task
            that is left out, is unknown.
        tasks: names and their order; by default those of the groups as they come.
        aggregate: "mean" or "regression".
        cover: groups that a pair needs, at least 1; a pair with fewer is NaN.
        shrinkage: of the regression, above 0, in groups: with 1 an effect seen in one group is
            halved.
        measured, cost: for the result, see `Affinity`.

    Raises:
        UserError: no group, a group that holds a task twice, a gain of a task outside its group or
            that is infinite, an unknown word, or a number that cannot be.

    >>> groups = [(("a", "b"), {"a": 0.2, "b": 0.0}), (("a", "b", "c"), {"a": 0.4, "c": -0.1})]
    >>> round(subset_affinity(groups)["a"]["b"], 3)
    0.3
    """
    if aggregate not in WAYS:
        raise unknown("aggregate", aggregate, WAYS)
    if isinstance(cover, bool) or not isinstance(cover, int) or cover < 1:
        raise UserError(f"cover must be a whole number of at least 1, found {cover!r}.")
    if not 0 < shrinkage < math.inf:
        raise UserError(f"shrinkage must be a number above 0, found {shrinkage!r}.")
    if not results:
        raise UserError("results: expected at least one group of tasks, found none.")
    names = tuple(dict.fromkeys(name for group, _ in results for name in group))
    names = names if tasks is None else tuple(tasks)
    groups = [_read(names, *result) for result in results]
    size = len(names)
    values, errors = np.full((size, size), np.nan), np.full((size, size), np.nan)
    for i in range(size):
        mine = [g for g in groups if g.members[i] and not math.isnan(g.gains[i])]
        if mine:
            members = np.stack([group.members for group in mine])
            gains = np.array([group.gains[i] for group in mine])
            members[:, i] = 0
            if aggregate == "mean":
                row, error = _means(members, gains)
            else:
                row, error = _effects(members, gains, shrinkage)
            enough = members.sum(0) >= cover
            values[i], errors[i] = np.where(enough, row, np.nan), np.where(enough, error, np.nan)
        values[i, i], errors[i, i] = 0.0, 0.0
    return Affinity(names, values, errors, measured, cost)


def _read(names: Sequence[str], group: Sequence[str], gains: Mapping[str, float | None]) -> _Group:
    for name in group:
        if name not in names:
            raise unknown("task of a group", name, names)
    if len(set(group)) < len(group):
        raise UserError(f"a group may hold a task once, found {list(group)}.")
    members, found = np.zeros(len(names)), np.full(len(names), np.nan)
    for name in group:
        members[names.index(name)] = 1
    for name, gain in gains.items():
        if name not in group:
            raise UserError(
                f"the group {list(group)} has a gain of {name!r}, which is not in it. Give the "
                "gains of its own tasks."
            )
        value = math.nan if gain is None else float(gain)
        if math.isinf(value):
            raise UserError(f"the gain of {name!r} in the group {list(group)} is infinite.")
        found[names.index(name)] = value
    return _Group(members, found)


def _means(members: Array, gains: Array) -> tuple[Array, Array]:
    """Mean gain over the groups of each companion, and its standard error, [T] each."""
    counts = members.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = members.T @ gains / counts
        # A companion that never came along has a mean of NaN, and so has its square.
        squares = (members * (gains[:, None] - means) ** 2).sum(0)
        errors = np.sqrt(squares / (counts - 1) / counts)
    return means, np.where(counts > 1, errors, np.nan)


def _effects(members: Array, gains: Array, shrinkage: float) -> tuple[Array, Array]:
    """Additive effects of the companions by ridge regression, and their errors, [T] each."""
    inner = members.T @ members
    inverse = np.linalg.inv(inner + shrinkage * np.eye(len(inner)))
    effects = inverse @ (members.T @ gains)
    residual = gains - members @ effects
    freedom = len(gains) - np.trace(inverse @ inner)
    if freedom <= 1e-9:
        return effects, np.full(len(effects), np.nan)
    spread = residual @ residual / freedom * np.diag(inverse @ inner @ inverse)
    return effects, np.sqrt(np.maximum(spread, 0.0))
