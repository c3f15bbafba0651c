"""Groups under a budget: networks, or an encoder and heads of unequal cost."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_groups import TASKONOMY5, TASKONOMY5_TASKS

from polytask.errors import UserError
from polytask.relationships import Affinity, choose_groups, group_tasks
from polytask.relationships._pairwise import Pairs

TABLE = Affinity(TASKONOMY5_TASKS, TASKONOMY5)


def best_by_looking_at_all(values, most, budget, network, heads, alone):
    size = len(values)
    members = np.array([row for row in itertools.product([0, 1], repeat=size) if any(row)], bool)
    gains = Pairs(values, np.full(size, -np.inf if alone is None else alone)).gains(members)
    costs = network + members @ np.array(heads)
    return max(
        (
            gains[:, list(chosen)].max(1).mean()
            for count in range(1, (most or size) + 1)
            for chosen in itertools.combinations(range(len(members)), count)
            if costs[list(chosen)].sum() <= budget + 1e-9
        ),
        default=-np.inf,
    )


@pytest.mark.parametrize("networks", [1, 2, 3])
def test_a_budget_of_networks_is_a_number_of_groups(networks) -> None:
    assert group_tasks(TABLE, budget=networks) == group_tasks(TABLE, networks)
    assert group_tasks(TABLE, budget=networks + 0.9) == group_tasks(TABLE, networks)
    assert group_tasks(TABLE, 5, budget=networks) == group_tasks(TABLE, networks)
    latency = group_tasks(TABLE, budget=0.1 * networks, network_cost=0.1)
    assert latency.groups == group_tasks(TABLE, networks).groups
    assert latency.cost == pytest.approx(0.1 * len(latency.groups))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_affordable_grouping_is_better(data) -> None:
    size = data.draw(st.integers(2, 4))
    draw = np.random.default_rng(data.draw(st.integers(0, 9999)))
    values = draw.normal(size=(size, size))
    values[draw.random((size, size)) < data.draw(st.sampled_from([0, 0.15]))] = np.nan
    alone = data.draw(st.none() | st.just(0.0))
    network = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    heads = [data.draw(st.integers(0, 4)) / 4 for _ in range(size)]
    most = data.draw(st.none() | st.integers(1, 3))
    budget = data.draw(st.integers(0, 20)) / 4
    names = tuple("abcd"[:size])
    wanted = best_by_looking_at_all(values, most, budget, network, heads, alone)
    arguments = {
        "max_groups": most, "alone": alone, "budget": budget, "network_cost": network,
        "task_costs": dict(zip(names, heads, strict=True)),
    }  # fmt: skip
    if wanted == -np.inf:
        with pytest.raises(UserError, match=r"smallest feasible|no group serves"):
            group_tasks(Affinity(names, values), **arguments)
        return
    found = group_tasks(Affinity(names, values), **arguments)
    assert found.score == pytest.approx(wanted, abs=1e-6)
    assert found.gap == 0.0
    own = dict(zip(names, heads, strict=True))
    assert found.cost == pytest.approx(sum(network + sum(own[t] for t in g) for g in found.groups))
    assert found.cost <= budget + 1e-8


def test_the_smallest_feasible_budget_is_told() -> None:
    heads = dict.fromkeys(TASKONOMY5_TASKS, 0.5)
    with pytest.raises(UserError, match=r"for 3\.4; the smallest feasible budget is 3\.5"):
        group_tasks(TABLE, budget=3.4, task_costs=heads)
    assert group_tasks(TABLE, budget=3.5, task_costs=0.5).groups == (TASKONOMY5_TASKS,)
    with pytest.raises(UserError, match="for 0; the smallest feasible budget is 1"):
        group_tasks(TABLE, budget=0)
    assert group_tasks(TABLE, budget=0, network_cost=0).score == group_tasks(TABLE, 5).score


def test_a_budget_that_is_a_sum_of_costs_is_kept_by_them() -> None:
    heads = dict(zip(TASKONOMY5_TASKS, (0.1, 0.2, 0.3, 0.1, 0.2), strict=True))
    exact = 0.7 * 2 + sum(heads.values())
    found = group_tasks(TABLE, budget=exact, network_cost=0.7, task_costs=heads)
    assert found.groups == group_tasks(TABLE, 2).groups
    assert found.cost == pytest.approx(exact)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected max_groups or a budget, found neither"),
        ({"budget": -1}, "budget: expected a finite number of at least 0"),
        ({"budget": "x"}, "budget: expected a finite number"),
        ({"budget": 2, "network_cost": -1}, "network_cost: expected a finite number of at least 0"),
        ({"budget": 2, "task_costs": {"ss_l": 1}}, "a cost for every task, found none for"),
        ({"budget": 2, "task_costs": {"ss_1": 1}}, "did you mean 'ss_l'"),
        ({"budget": 2, "task_costs": np.nan}, "task_costs: expected a finite number"),
        ({"max_groups": 0}, "max_groups: expected a whole number of at least 1"),
    ],
)
def test_what_is_wrong_is_refused(arguments, message) -> None:
    with pytest.raises(UserError, match=message):
        group_tasks(TABLE, **arguments)


@pytest.mark.parametrize("alone", [None, 0.0])
def test_many_tasks_under_a_budget(alone) -> None:
    # Four blocks of six; the budget pays for four networks and each head once, no more.
    names = tuple(f"t{i:02}" for i in range(24))
    values = np.kron(np.eye(4), np.ones((6, 6))) - np.random.default_rng(0).random((24, 24))
    heads = np.random.default_rng(1).uniform(0.05, 0.1, 24)
    costs = dict(zip(names, heads.tolist(), strict=True))
    budget = 4 + heads.sum()
    found = group_tasks(Affinity(names, values), alone=alone, budget=budget, task_costs=costs)
    assert set(found.groups) == {names[6 * b : 6 * b + 6] for b in range(4)}
    assert found.cost == pytest.approx(budget)
    with pytest.raises(UserError, match="smallest feasible budget is"):
        group_tasks(Affinity(names, values), budget=1.0, task_costs=costs)


def test_unequal_costs_end_and_the_gap_is_true() -> None:
    # The best is planted: nothing reaches 0 but these pairs, and the budget pays for them.
    tasks = [f"t{i:02}" for i in range(12)]
    draw = np.random.default_rng(0)
    losses, costs = {}, {}
    for size in (2, 3, 4):
        for _ in range(150):
            group = tuple(sorted(draw.choice(tasks, size, replace=False).tolist()))
            losses[group] = {task: float(draw.uniform(0.2, 1)) for task in group}
            costs[group] = float(draw.uniform(0.5, 2))
    planted = [tuple(tasks[i : i + 2]) for i in range(0, 12, 2)]
    losses |= {pair: dict.fromkeys(pair, 0.0) for pair in planted}
    costs |= dict.fromkeys(planted, 1.0)
    found = choose_groups(losses, budget=6.0, costs=costs)
    assert found.score == 0.0
    assert found.score - found.gap <= 0.0
    less = choose_groups(losses, budget=5.9, costs=costs)
    assert less.score > 0.0
    assert less.cost <= 5.9


def test_a_search_that_is_cut_off_says_so(monkeypatch) -> None:
    draw = np.random.default_rng(3)
    names = tuple(f"t{i:02}" for i in range(12))
    table = Affinity(names, draw.normal(size=(12, 12)))
    heads = dict(zip(names, draw.uniform(0.05, 1, 12).tolist(), strict=True))
    arguments = {"budget": 1.5 + sum(heads.values()), "network_cost": 0.3, "task_costs": heads}
    best = group_tasks(table, **arguments)
    monkeypatch.setattr("polytask.relationships._programme.WORK", 0)
    monkeypatch.setattr("polytask.relationships._selection.FIRST", 40)
    monkeypatch.setattr("polytask.relationships._pairwise.LAST", 40)
    short = group_tasks(table, **arguments)
    assert best.gap == 0.0
    assert short.score <= best.score + 1e-7
    assert short.score + short.gap >= best.score - 1e-7
    assert short.cost <= arguments["budget"] + 1e-8
