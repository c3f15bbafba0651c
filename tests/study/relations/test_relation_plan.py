"""The plan of a study of relationships: its runs, what waits for what, what is trained once."""

import importlib
import inspect
from dataclasses import replace

import pytest
from alone_networks import few_digits
from relation_simulation import DIRECTIONS, GIVEN, planned, simulate, table

from polytask import registry
from polytask.errors import UserError
from polytask.relationships import Affinity
from polytask.study.relations.estimators.gradient_cosine import GradientCosine
from polytask.study.relations.measures import Measure, agree
from polytask.study.relations.settings import (
    all_main,
    check_alone,
    check_randoms,
    choose_branches,
    choose_estimators,
    no_main_task,
    ordered,
    read_affinity,
)
from polytask.study.settings import Choice
from polytask.study.unit import KINDS


def against(unit, task, part):
    """As the table, but the smaller rate is better on validation."""
    score = table(unit, task, "test")
    worse = 0.9 if DIRECTIONS[task] == "max" else 1.1
    return score * worse if part == "val" and unit.config["lr"] > 2e-3 else score


def test_what_measures_and_checks_alike_is_trained_once():
    plan = planned("pairwise")
    outcomes, order = simulate(plan)
    # 7 networks x (2 rates + 4 seeds); the 6 of pairwise training at the chosen rate are theirs.
    assert len(order) == len(set(order)) == 7 * 6
    assert plan.planned(outcomes) == 42
    assert plan.startable(outcomes) == []
    # At the other rate only the search has them in common.
    plan = planned("pairwise")
    outcomes, order = simulate(plan, against)
    assert len(order) == len(set(order)) == 7 * 6 + 30 - 6
    assert plan.planned(outcomes) == 66


def test_the_total_told_before_is_enough():
    plan = planned("pairwise")
    before, probes = plan.planned({}), plan.probe_total({})
    outcomes, order = simulate(plan)
    assert len(order) <= before
    assert len(plan.probes(outcomes)) <= probes


def test_groups_found_by_pairwise_training():
    plan = planned("pairwise")
    outcomes, _ = simulate(plan)
    told = plan.told(plan.measures[0], outcomes)
    for scored, row in GIVEN.items():
        for companion, gain in row.items():
            assert told.affinity[scored][companion] == pytest.approx(gain)
    assert told.affinity.standard_errors[0, 1] == pytest.approx(0.0, abs=1e-12)
    ours = plan.recommended(outcomes)
    assert ours.groups == (("a", "b"), ("a", "c"))
    assert ours.assignment == {"a": ("a", "b"), "b": ("a", "b"), "c": ("a", "c")}
    assert told.grouping.score == pytest.approx(25 / 3)
    ids = [arrangement.id for arrangement in plan.arrangements(outcomes)]
    assert ids == ["recommended", "all_in_one", "alone", "random_1", "random_2", "random_3"]


def test_measuring_comes_first_and_tasks_alone_do_not_wait():
    plan = planned("gradient_cosine")
    ready = [unit.id for unit in plan.startable({})]
    assert ready[0] == "together-lr0.003-s0"
    assert "single-a-lr0.001-s0" in ready
    # All in one chooses its epoch by the scores of tasks alone.
    assert not any(name.startswith("all-") for name in ready)
    assert not plan.decided({})
    assert [a.id for a in plan.arrangements({})] == ["all_in_one", "alone"]


def test_the_training_that_records_has_what_every_estimator_asks_for():
    plan = planned(Choice("lookahead", {"samples": 7}), "gradient_cosine")
    config = plan.together().config
    assert config["conflict"] == "tail"
    assert config["affinity"] == {"order": "first", "statistic": "tail", "samples": 7}
    assert config["reference"] is None
    assert config["method"]["name"] == "linear"
    assert config["lr"] == 3e-3
    # The network that is checked records nothing: its time is that of an ordinary training.
    outcomes, _ = simulate(planned("pairwise"))
    unit = plan.unit(plan.everyone, 3e-3, 0, outcomes)
    assert not {"conflict", "affinity"} & set(unit.config)


def test_a_network_of_several_chooses_its_epoch_by_the_scores_of_tasks_alone():
    plan = planned("pairwise")
    pair = plan.contender(["b", "a"])
    assert plan.unit(pair, 3e-3, 0, {}) is None
    outcomes, _ = simulate(plan)
    config = plan.unit(pair, 1e-3, 0, outcomes).config
    assert (config["select"], config["reference"]) == ("mean_gain", {"a": 0.5, "b": 0.4})
    assert config["tasks"] == ["a", "b"]
    assert plan.alone("a").config["select"] == "main:a"


def test_a_failed_single_is_left_out_of_the_reference():
    plan = planned("pairwise")
    lost = plan.alone("b").id
    outcomes, _ = simulate(plan, fails=lambda unit: unit.id == lost)
    assert plan.reference(["a", "b"], outcomes) == {"a": 0.5}
    # The other seeds still tell a gain.
    told = plan.told(plan.measures[0], outcomes)
    assert told.affinity["b"]["a"] == pytest.approx(5.0)


def test_a_pair_without_any_run_is_not_known():
    plan = planned("pairwise")
    outcomes, _ = simulate(plan, fails=lambda unit: set(unit.config["tasks"]) == {"a", "c"})
    told = plan.told(plan.measures[0], outcomes)
    assert told.affinity["a"]["c"] != told.affinity["a"]["c"]
    assert not any(set(group) >= {"a", "c"} for group in told.grouping.groups)


def test_seeds_of_pairwise_training_can_be_fewer():
    plan = planned(Choice("pairwise", {"seeds": 1}), check=False)
    outcomes, order = simulate(plan)
    assert len(order) == 6
    assert plan.planned({}) == plan.planned(outcomes) == 6
    assert plan.arrangements(outcomes) == []
    assert plan.told(plan.measures[0], outcomes).affinity.standard_errors[0, 1] != 0


def test_given_affinities_are_not_measured():
    plan = planned(given=GIVEN, alone=0.0, randoms=0)
    assert plan.measuring({}) == []
    assert plan.decided({})
    assert plan.recommended({}).groups == (("a", "b"), ("a", "c"))
    _, order = simulate(plan)
    assert len(order) == 6 * 6 == plan.planned({})


def test_groups_of_one_are_allowed_where_numbers_are_gains():
    assert planned("pairwise").relation.worth_alone(True) == 0.0
    assert planned("pairwise").relation.worth_alone(False) is None
    assert planned("pairwise", alone=None).relation.worth_alone(True) is None
    assert planned("pairwise", alone=0.5).relation.worth_alone(False) == 0.5
    enemies = {t: dict.fromkeys(set("abc") - {t}, -1) for t in "abc"}
    assert planned(given=enemies, alone=0.0, max_groups=3).recommended({}).groups == (
        ("a",), ("b",), ("c",),
    )  # fmt: skip
    assert all(len(g) > 1 for g in planned(given=enemies, max_groups=3).recommended({}).groups)


def test_more_groups_than_tasks_are_fine():
    assert planned(given=GIVEN, max_groups=9, alone=0.0).recommended({}) is not None


def test_other_architectures_and_methods_have_names_of_their_own():
    plan = planned("pairwise", method=Choice("pcgrad"), architecture=Choice("mmoe"))
    assert plan.contender(["a", "b"]).id == "group-a-b-pcgrad-mmoe"
    assert plan.contender(["c"]).architecture == Choice("hard_sharing")
    branched = plan.contender("abc", Choice("branched", {"tree": [["a", "b", "c"]]}))
    assert branched.id.startswith("all-pcgrad-branched-")
    assert (
        branched.id != plan.contender("abc", Choice("branched", {"tree": [["a"], ["b", "c"]]})).id
    )


def test_a_run_of_another_kind_has_the_network_of_all_tasks():
    plan = planned("pairwise")
    unit = plan.extra("represent", "represent", {"rows": 5}, seed=1)
    assert unit.id == "represent-s1"
    assert unit.config["tasks"] == ["a", "b", "c"]
    assert (unit.config["kind"], unit.config["rows"], unit.config["seed"]) == ("represent", 5, 1)
    free = plan.network(["a", "b"])
    assert free.config["reference"] is None
    assert free.id == "free-group-a-b-linear-lr0.003-s0"
    assert plan.network(["b"]).hash == plan.alone("b").hash


def test_words_that_cannot_be():
    with pytest.raises(UserError, match="did you mean 'pairwise'"):
        choose_estimators(["pairwize"])
    with pytest.raises(UserError, match="did you mean 'samples'"):
        choose_estimators({"lookahead": {"sample": 3}})
    with pytest.raises(UserError, match="expected at least one"):
        choose_estimators([])
    with pytest.raises(UserError, match="'pairwise' is given twice"):
        choose_estimators(["pairwise", {"pairwise": {"seeds": 1}}])
    with pytest.raises(UserError, match="helps one main task"):
        no_main_task(Choice("gcs"))
    with pytest.raises(UserError, match="branches: expected true, false or one of rsa"):
        choose_branches("pairwise", ())
    with pytest.raises(UserError, match="alone: expected"):
        check_alone("sometimes")
    for value in (True, float("nan"), float("inf")):
        with pytest.raises(UserError, match="alone: expected"):
            check_alone(value)
    with pytest.raises(UserError, match="randoms: expected"):
        check_randoms(-1)
    with pytest.raises(UserError, match="seeds must be a whole number above 0"):
        planned(Choice("pairwise", {"seeds": 0}))
    assert (check_alone("auto"), check_alone("never"), check_alone(None)) == ("auto", None, None)
    assert (check_alone(1), check_randoms(0)) == (1.0, 0)
    assert choose_branches(True, (Choice("cka"),)) == "cka"
    assert choose_branches(True, ()) == "rsa"
    assert choose_branches(False, ()) is None


def test_two_estimators_that_want_other_records_under_one_word():
    # One of them a third party's.
    several = [Measure(s, s, GradientCosine(s)) for s in ("tail", "exact")]
    with pytest.raises(UserError, match="tail and exact both record 'conflict'"):
        agree(several)
    agree(several[:1])


def test_given_affinities_stand_in_the_order_of_the_data(tmp_path):
    table = Affinity(("c", "a", "b"), [[0, 1, 2], [3, 0, 4], [5, 6, 0]])
    found = ordered(table, ["a", "b", "c"])
    assert found.tasks == ("a", "b", "c")
    assert all(found[s][c] == table[s][c] for s in "abc" for c in "abc")
    with pytest.raises(UserError, match="expected the tasks of the data, a, b; found c, a, b"):
        ordered(table, ["a", "b"])
    table.save(tmp_path / "own.json")
    assert read_affinity(tmp_path / "own.json")["b"]["a"] == 6
    assert read_affinity(GIVEN)["a"]["b"] == 10
    with pytest.raises(UserError, match="cannot read"):
        read_affinity(tmp_path / "other.json")


def test_a_training_too_short_to_record_says_so():
    plan = planned("lookahead", "gradient_cosine", check=False)
    outcomes = {}
    for unit in plan.startable(outcomes):
        outcomes[unit.hash] = {"kind": "train", "affinity": record(3), "conflict": record(3)}
    for measure in plan.measures:
        told = plan.told(measure, outcomes)
        assert told.affinity is None
        assert told.reason == (
            "3 steps of the training of all tasks could be measured, and 8 are needed (others were "
            "passed over: no labels). Train more epochs, or in smaller batches."
        )
    plan = planned("lookahead", check=False)
    told = plan.told(plan.measures[0], {plan.together().hash: {"error": "out of memory"}})
    assert "recorded nothing: out of memory" in told.reason


def record(steps):
    """Both recorders' records of three tasks, as far as they matter here."""
    rows = [[0.1] * 9] * steps
    return {
        "tasks": ["a", "b", "c"],
        "statistic": "tail",
        "order": "first",
        "evaluate": "same",
        "optimizer": "adam",
        "each": 2.0,
        "batches": 100,
        "values": rows,
        "products": [row[:6] for row in rows],
        "norms": [[1.0] * 3] * steps,
        "skipped": {"no labels": 2},
    }


@pytest.mark.parametrize("name", ["lookahead", "gradient_cosine", "pairwise"])
def test_what_lists_show_of_an_estimator_needs_no_import(name):
    entry = registry.find("estimator", name)
    assert entry.summary
    assert entry.constants["needs"]
    assert entry.constants["unit"]
    assert isinstance(entry.constants["gains"], bool)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_has_its_function(kind):
    module, _, name = KINDS[kind].partition(":")
    function = getattr(importlib.import_module(module), name)
    words = list(inspect.signature(function).parameters)
    assert words == ["config", "dataset", "folder", "make_encoder"]


def test_auxiliary_tasks_are_judged_like_the_others():
    whole = few_digits(20)
    helper = replace(whole.tasks["parity"], role="auxiliary", reverse=0.5)
    found = all_main(replace(whole, tasks={**whole.tasks, "parity": helper}))
    assert {task.role for task in found.tasks.values()} == {"main"}
    assert found.tasks["parity"].reverse == 0.0
