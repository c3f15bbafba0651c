"""Ways of sharing tasks out among networks: what was recommended, and what it is compared with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb

from polytask.relationships import Grouping
from polytask.study.plan import digest
from polytask.study.settings import Choice

Group = tuple[str, ...]
RECOMMENDED, ALL_IN_ONE, ALONE, RANDOM, BRANCHED = (
    "recommended", "all_in_one", "alone", "random", "branched",
)  # fmt: skip


@dataclass(frozen=True)
class Arrangement:
    """Groups of tasks, one network each, and the group that serves each task."""

    id: str
    name: str
    groups: tuple[Group, ...]
    assignment: dict[str, Group]
    architecture: Choice | None = None
    """Where it is not the study's."""

    def same(self, other: Arrangement) -> bool:
        """Whether both train the same networks."""
        alike = {frozenset(g) for g in self.groups} == {frozenset(g) for g in other.groups}
        return alike and self.architecture == other.architecture


def recommended(grouping: Grouping) -> Arrangement:
    """What the estimator that decides recommends."""
    return Arrangement(RECOMMENDED, "recommended", grouping.groups, dict(grouping.assignment))


def all_in_one(tasks: Sequence[str]) -> Arrangement:
    """One network for all."""
    group = tuple(tasks)
    return Arrangement(ALL_IN_ONE, "all in one", (group,), dict.fromkeys(tasks, group))


def each_alone(tasks: Sequence[str]) -> Arrangement:
    """A network for each."""
    groups = tuple((task,) for task in tasks)
    return Arrangement(ALONE, "each alone", groups, dict(zip(tasks, groups, strict=True)))


def branched(tasks: Sequence[str], architecture: Choice) -> Arrangement:
    """One network whose branches part where tasks differ."""
    group = tuple(tasks)
    return Arrangement(
        BRANCHED, "branched", (group,), dict.fromkeys(tasks, group), architecture=architecture
    )


def random_arrangements(
    tasks: Sequence[str],
    groups: int,
    wanted: int,
    *,
    singles: bool,
    like: Arrangement,
    seed: str,
) -> list[Arrangement]:
    """Up to `wanted` partitions of the tasks, all equally likely, none twice.

    Args:
        tasks: their names.
        groups: how many groups each partition has.
        wanted: how many partitions; fewer where there are no more.
        singles: whether a group may have one task; else it has two, where there are enough tasks.
        like: a grouping that must not be among them.
        seed: any text; the same one draws the same.
    """
    size = len(tasks)
    least = 1 if singles or 2 * groups > size else 2
    draw = random.Random(digest([list(tasks), groups, least, seed]))
    left = count_partitions(size, groups, least) - _is_drawn(like, groups, least)
    found: list[Arrangement] = []
    while len(found) < min(wanted, left):
        drawn = _arrangement(tuple(_draw(tuple(tasks), groups, least, draw)), len(found) + 1)
        if not any(drawn.same(other) for other in [like, *found]):
            found.append(drawn)
    return found


@cache
def count_partitions(size: int, groups: int, least: int) -> int:
    """In how many ways so many things fall into so many groups of at least so many.

    >>> count_partitions(4, 2, 1), count_partitions(4, 2, 2), count_partitions(5, 5, 1)
    (7, 3, 1)
    """
    if groups == 0:
        return int(size == 0)
    # By the size of the group of the first thing.
    return sum(
        comb(size - 1, own - 1) * count_partitions(size - own, groups - 1, least)
        for own in range(least, size + 1)
    )


def _draw(tasks: Group, groups: int, least: int, draw: random.Random) -> Iterator[Group]:
    """One partition; the group of the first task first, and so on."""
    while groups:
        size = len(tasks)
        sizes = range(least, size + 1)
        ways = [
            comb(size - 1, own - 1) * count_partitions(size - own, groups - 1, least)
            for own in sizes
        ]
        place = draw.randrange(sum(ways))
        own = next(s for k, s in enumerate(sizes) if place < sum(ways[: k + 1]))
        others = set(draw.sample(range(1, size), own - 1))
        yield tuple(task for k, task in enumerate(tasks) if k == 0 or k in others)
        tasks = tuple(task for k, task in enumerate(tasks) if k and k not in others)
        groups -= 1


def _arrangement(groups: tuple[Group, ...], number: int) -> Arrangement:
    assignment = {task: group for group in groups for task in group}
    return Arrangement(f"{RANDOM}_{number}", f"random {number}", groups, assignment)


def _is_drawn(arrangement: Arrangement, groups: int, least: int) -> bool:
    """Whether it is one of the partitions that are drawn from."""
    sizes = [len(group) for group in arrangement.groups]
    apart = sum(sizes) == len(arrangement.assignment)
    return apart and len(sizes) == groups and min(sizes) >= least
