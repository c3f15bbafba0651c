"""Random divisions of tasks: how many there are, that all are equally likely, that none repeats."""

from collections import Counter

import pytest

from polytask.study.relations.groups import (
    Arrangement,
    all_in_one,
    count_partitions,
    each_alone,
    random_arrangements,
)

TASKS = ("a", "b", "c", "d", "e")


def partition(*groups):
    names = tuple(tuple(group) for group in groups)
    return Arrangement("recommended", "", names, {t: g for g in names for t in g})


def drawn(groups, wanted, singles=True, like=None, seed="s", tasks=TASKS):
    like = like or all_in_one(tasks)
    return random_arrangements(tasks, groups, wanted, singles=singles, like=like, seed=seed)


def brute(size, groups, least):
    """All partitions, by putting one thing after another."""

    def grow(k, parts):
        if k == size:
            return {frozenset(map(frozenset, parts))}
        found = set()
        for i in range(len(parts)):
            found |= grow(k + 1, [p | {k} if i == j else p for j, p in enumerate(parts)])
        return found | grow(k + 1, [*parts, {k}])

    every = grow(0, [])
    return {p for p in every if len(p) == groups and all(len(g) >= least for g in p)}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("least", [1, 2])
def test_partitions_are_counted_as_they_are_listed(size, least):
    for groups in range(1, size + 1):
        assert count_partitions(size, groups, least) == len(brute(size, groups, least))


def test_stirling_numbers():
    assert [count_partitions(6, k, 1) for k in range(1, 7)] == [1, 31, 90, 65, 15, 1]
    assert count_partitions(40, 5, 1) > 10**25


def test_every_partition_is_equally_likely():
    found = Counter()
    for seed in range(3000):
        (one,) = drawn(2, 1, seed=str(seed))
        found[frozenset(map(frozenset, one.groups))] += 1
    assert len(found) == 15
    assert all(140 <= number <= 265 for number in found.values())  # 200 expected, 5 sd


def test_none_repeats_and_none_is_the_recommendation():
    ours = partition("ab", "cde")
    every = drawn(2, 100, like=ours)
    assert len(every) == 14
    kept = [frozenset(map(frozenset, a.groups)) for a in every]
    assert len(set(kept)) == 14
    assert frozenset({frozenset("ab"), frozenset("cde")}) not in kept
    assert [a.id for a in every[:2]] == ["random_1", "random_2"]
    for one in every:
        assert sorted(task for group in one.groups for task in group) == list(TASKS)
        assert all(task in group for task, group in one.assignment.items())


def test_groups_of_one_are_drawn_only_where_they_are_allowed():
    assert all(len(g) >= 2 for a in drawn(2, 100, singles=False) for g in a.groups)
    assert len(drawn(2, 100, singles=False)) == 10
    # Three groups of two do not fit five tasks.
    assert len(drawn(3, 100, singles=False)) == 25


def test_an_overlapping_recommendation_takes_nothing_away():
    ours = partition("abc", "cde")
    assert len(drawn(2, 100, like=ours)) == 15


def test_where_there_is_no_other_none_is_drawn():
    assert drawn(1, 3, like=all_in_one(TASKS)) == []
    assert drawn(5, 3, like=each_alone(TASKS)) == []
    assert drawn(2, 0) == []


def test_the_same_seed_draws_the_same():
    assert drawn(2, 3) == drawn(2, 3)
    assert drawn(2, 3) != drawn(2, 3, seed="t")
