"""Groups within a budget of networks, parameters or time to predict."""

import doctest

import pytest
from relation_simulation import GIVEN, facts, planned, simulate

from polytask.errors import UserError
from polytask.relationships import group_tasks
from polytask.study.relations import budget
from polytask.study.relations.analysis import analyse
from polytask.study.relations.budget import check_budget, networks_at_most, prices, split

ENCODER, HEADS = 8, {"a": 1, "b": 2, "c": 3}


def measure(plan, key, outcomes=None, encoder=ENCODER):
    """Probes of networks that cost an encoder and their heads."""
    outcomes = {} if outcomes is None else outcomes
    for unit in plan.probes(outcomes):
        size = encoder + sum(HEADS[task] for task in unit.config["tasks"])
        outcomes[unit.hash] = {key: size, "step_seconds": 0.01, "seconds": 1.0}
    return outcomes


def test_the_arithmetic_of_its_doctest():
    assert doctest.testmod(budget).failed == 0


@pytest.mark.parametrize(
    ("alone", "together"),
    [([9, 10, 11], 14), ([4, 4, 4], 12), ([4, 5, 6], 20), ([1.02, 0.97, 1.0], 1.0), ([5, 9], 8)],
)
def test_all_in_one_costs_one_and_nothing_is_negative(alone, together):
    network, heads = split(alone, together)
    assert network + sum(heads) == pytest.approx(1.0)
    assert min([network, *heads]) >= 0


@pytest.mark.parametrize(("unit", "key"), [("parameters", "parameters"),
                                           ("latency", "inference_seconds")])  # fmt: skip
def test_costs_are_those_of_the_networks(unit, key):
    plan = planned(given=GIVEN, budget=1.5, budget_in=unit, max_groups=3, alone=0.0, check=False)
    assert prices(plan, {}) is None
    assert plan.told(plan.measures[0], {}) is None
    assert [u.id for u in plan.pricing()] == [u.id for u in plan.probes({})]
    assert len(plan.pricing()) == plan.probe_total({}) == 4
    outcomes = measure(plan, key)
    found = prices(plan, outcomes)
    assert found.network == pytest.approx(8 / 14)
    assert found.tasks == pytest.approx({task: size / 14 for task, size in HEADS.items()})
    grouping = plan.told(plan.measures[0], outcomes).grouping
    assert grouping.cost <= 1.5 + 1e-8
    # One network and a half: two networks cost at least (16 + 6) / 14 = 1.57.
    assert grouping.groups == (("a", "b", "c"),)
    more = planned(given=GIVEN, budget=1.6, budget_in=unit, max_groups=3, alone=0.0, check=False)
    assert len(more.told(more.measures[0], outcomes).grouping.groups) == 2


def test_a_budget_of_networks_needs_no_costs():
    plan = planned(given=GIVEN, budget=2.5, max_groups=3, alone=0.0)
    assert plan.pricing() == []
    assert (
        plan.told(plan.measures[0], {}).grouping.groups
        == group_tasks(plan.measures[0].estimator.table, 2, 0.0).groups
    )


def test_results_say_what_the_groups_cost():
    plan = planned(given=GIVEN, budget=1.6, budget_in="parameters", max_groups=3, alone=0.0)
    outcomes = measure(plan, "parameters")
    outcomes, _ = simulate(plan, outcomes=outcomes)
    results = analyse(plan, facts(plan), outcomes)
    spent = results["budget"]
    assert (spent["limit"], spent["in"]) == (1.6, "parameters")
    assert spent["network"] == pytest.approx(8 / 14)
    assert results["recommendation"]["cost"] == pytest.approx(22 / 14)
    said = results["verdict"]["sentence"]
    assert "within a budget of 1.6 times the parameters of one network for all tasks" in said
    assert "they take 1.57" in said
    free = analyse(planned(given=GIVEN), facts(plan), {})
    assert free["budget"] is None
    assert "budget" not in free["verdict"]["sentence"]


def test_a_probe_that_failed_is_the_reason():
    plan = planned(given=GIVEN, budget=2.0, budget_in="latency", check=False)
    outcomes = measure(plan, "inference_seconds")
    outcomes[plan.pricing()[0].hash] = {"error": "out of memory"}
    assert "out of memory" in plan.told(plan.measures[0], outcomes).reason
    results = analyse(plan, facts(plan), outcomes)
    assert "out of memory" in results["budget"]["undefined"]
    assert "out of memory" in results["verdict"]["sentence"]
    waiting = analyse(plan, facts(plan), {})
    assert not waiting["complete"]
    assert waiting["missing"][0].startswith("costs: probe-")


@pytest.mark.parametrize(
    ("given", "unit", "message"),
    [
        (0.5, "networks", "expected a number of at least 1"),
        (True, "networks", "expected a number of at least 1"),
        (float("nan"), "latency", "expected a number of at least 1"),
        ("2", "parameters", "expected a number of at least 1"),
        (2, "paramters", "did you mean 'parameters'"),
        (None, "latency", "there is no budget"),
    ],
)
def test_what_is_no_budget_is_refused(given, unit, message):
    with pytest.raises(UserError, match=message):
        check_budget(given, unit)


def test_how_many_networks_there_may_be():
    assert check_budget(2, "networks") == 2.0
    assert networks_at_most(None, None, "networks", 8) == 3
    assert networks_at_most(None, 5.5, "networks", 8) == 5
    assert networks_at_most(4, 5.5, "networks", 8) == 4
    assert networks_at_most(None, 1.5, "latency", 8) == 8
