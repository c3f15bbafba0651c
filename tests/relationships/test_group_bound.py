"""The bound on groups of many tasks: never below the best, at any prices, and near where it can."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.relationships import Affinity, group_tasks
from polytask.relationships import _bound as bound
from polytask.relationships._pairwise import Pairs


def every_group(size):
    chosen = itertools.product([False, True], repeat=size)
    return np.array([row for row in chosen if any(row)])


def best_sum(values, alone, most):
    gains = Pairs(values, alone).gains(every_group(len(values)))
    columns = range(gains.shape[1])
    return max(
        gains[:, list(chosen)].max(1).sum()
        for count in range(1, most + 1)
        for chosen in itertools.combinations(columns, count)
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_prices_give_less_than_the_best(data) -> None:
    size = data.draw(st.integers(2, 5))
    most = data.draw(st.integers(1, 2))
    draw = np.random.default_rng(data.draw(st.integers(0, 999)))
    values = draw.normal(size=(size, size))
    values[draw.random((size, size)) < data.draw(st.sampled_from([0, 0.2]))] = np.nan
    alone = draw.normal(size=size) if data.draw(st.booleans()) else np.full(size, -np.inf)
    wanted = best_sum(values, alone, most)
    largest = data.draw(st.integers(2, size))
    small = [s for s in bound._small_groups(values, alone) if s.members.shape[1] <= largest]
    tops = bound.top_means(values, alone)
    prices = draw.normal(size=size)
    assert bound._at(prices, small, tops, most).value >= wanted - 1e-9
    if np.isfinite(wanted):
        assert bound.by_sizes(tops, most) >= wanted - 1e-9


def test_small_groups_are_all_there_and_valued_as_groups() -> None:
    draw = np.random.default_rng(0)
    values, alone = draw.normal(size=(6, 6)), draw.normal(size=6)
    values[0, 3] = np.nan
    small = bound._small_groups(values, alone)
    assert [len(s.members) for s in small] == [6, 15, 20, 15, 6, 1]
    for one in small:
        members = np.zeros((len(one.members), 6), dtype=bool)
        np.put_along_axis(members, one.members, True, axis=1)
        gains = Pairs(values, alone).gains(members)
        assert np.take_along_axis(gains.T, one.members, axis=1) == pytest.approx(one.gains)


@pytest.mark.parametrize("largest", [3, 4, 6])
def test_the_slope_is_that_of_the_bound(largest) -> None:
    draw = np.random.default_rng(largest)
    values, alone = draw.normal(size=(7, 7)), np.full(7, -np.inf)
    small = [s for s in bound._small_groups(values, alone) if s.members.shape[1] <= largest]
    tops = bound.top_means(values, alone)
    prices, step = draw.normal(size=7), 1e-7
    found = bound._at(prices, small, tops, 3)
    for task, unit in enumerate(np.eye(7) * step):
        ahead = bound._at(prices + unit, small, tops, 3).value
        assert (ahead - found.value) / step == pytest.approx(found.slope[task], abs=1e-4)


def planted(blocks, each, noise, seed):
    """Tasks in blocks that help each other by 1 and the others by less: the best is known."""
    draw = np.random.default_rng(seed)
    size = blocks * each
    place = draw.permutation(np.arange(size) % blocks)
    same = place[:, None] == place[None]
    values = np.where(same, 1.0, -noise * draw.random((size, size)))
    return values, [tuple(np.flatnonzero(place == b)) for b in range(blocks)]


@pytest.mark.parametrize(
    ("blocks", "each"),
    [(3, 7), *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in [(5, 6), (8, 5)])],
)
def test_a_planted_best_is_found_and_its_gap_covers_nothing(blocks, each) -> None:
    values, wanted = planted(blocks, each, 1.0, blocks)
    names = tuple(f"t{i:02}" for i in range(len(values)))
    found = group_tasks(Affinity(names, values), blocks)
    assert {tuple(map(names.index, g)) for g in found.groups} == set(wanted)
    assert found.score == pytest.approx(1.0)
    assert 0 <= found.gap < 1e-6
    # With too few groups the best is less than 1, and the gap must not hide that it may be more.
    fewer = group_tasks(Affinity(names, values), blocks - 1)
    assert fewer.score < 1 - 1e-3
    joined = [*wanted[2:], tuple(sorted(wanted[0] + wanted[1]))]
    members = np.array([np.isin(np.arange(len(values)), g) for g in joined])
    known = Pairs(values, np.full(len(values), -np.inf)).gains(members).max(1).mean()
    assert fewer.score + fewer.gap >= known - 1e-9
    assert fewer.score >= known - 1e-9


def test_a_large_part_of_a_random_table_s_gap_is_closed() -> None:
    values = np.random.default_rng(0).normal(size=(24, 24))
    alone = np.full(24, -np.inf)
    found = group_tasks(Affinity(tuple(f"t{i:02}" for i in range(24)), values), 5)
    by_sizes = bound.by_sizes(bound.top_means(values, alone), 5) / 24 - found.score
    assert 0 < found.gap < 0.6 * by_sizes
