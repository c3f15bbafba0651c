"""Which groups of tasks to try, so that all pairs come up about equally often."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

Subset = tuple[int, ...]


def default_size(tasks: int) -> int:
    """A quarter of the tasks, at least 3, and not all of them where there are three or more."""
    return min(max(3, tasks // 4), max(2, tasks - 1))


def reachable(tasks: int, size: int, cover: int) -> int:
    """How often a pair can come up at most, up to `cover`: subsets do not repeat."""
    return min(cover, comb(tasks - 2, size - 2))


def choose_subsets(
    tasks: int, size: int, cover: int, most: int | None, chance: np.random.Generator
) -> list[Subset]:
    """Different subsets of `size` out of `tasks`, in the order drawn, members ascending.

    As many as it takes until every pair is in `cover` of them (or in all there are), or `most`.
    Each begins with a pair that came up least often so far; then the task follows that came up
    least often with those already there; ties are drawn.
    """
    everything = comb(tasks, size)
    wanted = everything if most is None else min(most, everything)
    enough = reachable(tasks, size, cover)
    if wanted == everything and (most is not None or enough < cover or size == tasks):
        return list(combinations(range(tasks), size))
    counts = np.zeros((tasks, tasks))
    np.fill_diagonal(counts, np.inf)
    chosen: dict[Subset, None] = {}
    while len(chosen) < wanted and (most is not None or counts.min() < enough):
        subset = _least_seen(counts, size, chance)
        while subset in chosen:
            drawn = chance.choice(tasks, size, replace=False)
            subset = tuple(sorted(drawn.tolist()))
        chosen[subset] = None
        for i, j in combinations(subset, 2):
            counts[i, j] += 1
            counts[j, i] += 1
    return list(chosen)


def _least_seen(counts: np.ndarray, size: int, chance: np.random.Generator) -> Subset:
    """A subset of pairs that came up least often, one task added after the other."""
    pairs = np.argwhere(np.triu(counts == counts.min(), 1))
    members: list[int] = pairs[chance.integers(len(pairs))].tolist()
    while len(members) < size:
        seen = counts[:, members].sum(1)  # infinite for the members themselves
        least = np.flatnonzero(seen == seen.min())
        members.append(int(least[chance.integers(len(least))]))
    return tuple(sorted(members))
