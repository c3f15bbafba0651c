"""Which tasks are near to each other: a tree of affinities, and the order of its leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.relationships import Affinity
from polytask.report.numbers import plural


@dataclass(frozen=True)
class Join:
    """Two branches that become one: their places along the leaves and where they came from."""

    places: tuple[float, float]
    starts: tuple[float | None, float | None]
    """The affinity at which each branch was joined itself; None for a single task."""
    affinity: float
    """The mean affinity, in both directions, of the pairs across the two branches."""


@dataclass(frozen=True)
class Tree:
    """The tasks in the order of the leaves, and the joins, those of the most alike first."""

    leaves: tuple[str, ...]
    joins: tuple[Join, ...]


def tree_of(affinity: Affinity) -> Tree | str:
    """The tree of average linkage, or why there is none.

    The distance of two tasks is the largest mean affinity of any pair minus the mean of their two
    affinities, a scored with b and b scored with a; branches are as far apart as their pairs are on
    average (scipy's `linkage(method="average")`). The leaves are turned so that neighbours are as
    near as the tree allows.
    """
    tasks = affinity.tasks
    size = len(tasks)
    if size < 2:
        return "one task alone has no tree"
    mean = (affinity.values + affinity.values.T) / 2
    upper = np.triu_indices(size, 1)
    pairs = mean[upper]
    unknown = int(np.isnan(pairs).sum())
    if unknown:
        known = len(pairs) - unknown
        return f"{known} of {plural(len(pairs), 'pair')} were measured both ways, and all must be"
    try:
        from scipy.cluster.hierarchy import leaves_list, linkage
    except ImportError:
        return "SciPy, which computes it, is not installed"
    top = pairs.max()
    merges = linkage(top - pairs, method="average", optimal_ordering=True)
    order = leaves_list(merges).tolist()
    place = {node: float(order.index(node)) for node in range(size)}
    height: dict[int, float | None] = dict.fromkeys(range(size))
    joins = []
    for step, (left, right, distance, _) in enumerate(merges.tolist()):
        one, other = sorted((int(left), int(right)), key=place.__getitem__)
        joined = float(top - distance)
        ends = (place[one], place[other])
        joins.append(Join(ends, (height[one], height[other]), joined))
        place[size + step], height[size + step] = sum(ends) / 2, joined
    return Tree(tuple(tasks[index] for index in order), tuple(joins))
