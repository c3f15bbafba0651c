"""Groups of many tasks: changes of two groups at once, and answers within counted work."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.relationships import Affinity, group_tasks
from polytask.relationships._climb import climb
from polytask.relationships._costs import LinearCosts
from polytask.relationships._pairwise import Pairs

PROMISE = 20.0
"""Seconds of computing, on one core."""


def table(kind, size, seed=0):
    draw = np.random.default_rng([11, seed])
    values = draw.normal(size=(size, size))
    if kind == "symmetric":
        return (values + values.T) / 2
    if kind == "missing":
        return np.where(draw.random((size, size)) < 0.05, np.nan, values)
    if kind == "ties":
        return draw.integers(-1, 2, (size, size)).astype(float)
    return values


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.integers(2, 4), st.booleans())
def test_a_climb_never_falls_and_keeps_the_budget(seed, count, alone) -> None:
    draw, size = np.random.default_rng(seed), 9
    pairs = Pairs(draw.normal(size=(size, size)), np.full(size, 0.0 if alone else -np.inf))
    costs = LinearCosts(1.0, draw.random(size))
    members = draw.random((count, size)) < 0.5
    members[0] = True  # so that every task is served
    members = members[members.any(1)]
    room = float(costs(members).sum()) + draw.choice([0.0, 0.3])
    risen = climb(members, pairs.gains, costs, room)
    assert risen.any(1).all()
    assert len(risen) <= len(members)
    assert costs(risen).sum() <= room + 1e-9
    before, after = (pairs.gains(groups).max(1).sum() for groups in (members, risen))
    assert after >= before - 1e-9
    # Nothing more is found from there.
    again = climb(risen, pairs.gains, costs, room)
    assert pairs.gains(again).max(1).sum() == pytest.approx(after)


def test_two_tasks_change_places_where_the_budget_is_spent() -> None:
    place = np.array([0, 0, 0, 1, 1, 1])
    values = (place[:, None] == place).astype(float)
    pairs, costs = Pairs(values, np.full(6, -np.inf)), LinearCosts(1.0, np.ones(6))
    members = np.array([[1, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 1]], dtype=bool)
    risen = climb(members, pairs.gains, costs, 8.0)
    assert {tuple(np.flatnonzero(g)) for g in risen} == {(0, 1, 2), (3, 4, 5)}


LARGE = [(30, "symmetric", 5), (40, "missing", 40), (40, "ties", 8), (40, "normal", 40)]


@pytest.mark.parametrize(
    ("size", "kind", "most"),
    [(22, "normal", 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in LARGE)],
)
@pytest.mark.parametrize("network", [1.0, 0.0])
def test_unequal_costs_of_many_tasks_are_answered_in_time(size, kind, most, network) -> None:
    draw = np.random.default_rng(size)
    values = table(kind, size)
    names = tuple(f"t{i:02}" for i in range(size))
    each = draw.uniform(0.0, 0.3, size)
    heads = dict(zip(names, each.tolist(), strict=True))
    budget = (8.0 if kind == "missing" else 4.5) * network + 1.6 * each.sum()
    alone = 0.0 if kind == "missing" else None
    began = time.process_time()
    found = group_tasks(
        Affinity(names, values), most, alone,
        budget=budget, network_cost=network, task_costs=heads,
    )  # fmt: skip
    assert time.process_time() - began < PROMISE
    assert found.cost <= budget + 1e-8
    assert found.cost == pytest.approx(
        sum(network + sum(heads[t] for t in group) for group in found.groups)
    )
    # No climb from a random division comes above what the gap allows, nor far above the answer.
    pairs = Pairs(values, np.full(size, -np.inf if alone is None else alone))
    costs = LinearCosts(network, each)
    for seed in range(3):
        place = np.random.default_rng(seed).integers(0, min(4, most), size)
        start = np.array([place == p for p in range(4) if (place == p).sum() > 1])
        if np.isfinite(pairs.gains(start).max(1).sum()) and costs(start).sum() <= budget:
            other = pairs.gains(climb(start, pairs.gains, costs, budget)).max(1).mean()
            assert other <= found.score + found.gap + 1e-9
            assert other <= found.score + 0.1
