"""The plan of a selection: its runs, their names, what waits for what, what is reused."""

import pytest
from selection_simulation import HELPERS, selection, simulate

from polytask.errors import UserError
from polytask.study.selection.plan import SelectionPlan
from polytask.study.selection.sets import count_sets, helper_sets
from polytask.study.selection.settings import (
    Recipe,
    check_finalists,
    choose_one,
    known_candidates,
    known_main,
)
from polytask.study.settings import Choice

BELIEFS = {"copy": 0.7, "related": 0.65, "noise": 0.61, "enemy": 0.2}


def flat(unit, part):
    """The same score for everybody, best at the larger rate."""
    return 0.8 if unit.config["lr"] == 3e-3 else 0.7


@pytest.mark.parametrize("method", [Choice("linear"), Choice("gcs")])
@pytest.mark.parametrize(("candidates", "finalists"), [(4, 3), (4, 2), (4, 1), (3, 3), (1, 3)])
def test_every_run_happens_once_and_the_total_is_told_before(method, candidates, finalists):
    plan = SelectionPlan(selection(HELPERS[:candidates], finalists=finalists, method=method))
    outcomes, order = simulate(plan, flat, bandit=BELIEFS)
    assert len(order) == len(set(order)) == plan.total
    assert plan.startable(outcomes) == []
    assert len(plan.probes(outcomes)) == plan.probe_total
    assert ("trial" in order) == (candidates > finalists)


def test_sets_are_none_each_all_finalists_all_but_one_and_everybody():
    found = [entry.helpers for entry in helper_sets("abcd", ["c", "a", "b"])]
    assert found == [
        (), ("a",), ("b",), ("c",), ("a", "b", "c"), ("b", "c"), ("a", "c"), ("a", "b"),
        ("a", "b", "c", "d"),
    ]  # fmt: skip
    # Of two finalists, all but one is the other one alone.
    assert [s.helpers for s in helper_sets("ab", "ab")] == [(), ("a",), ("b",), ("a", "b")]
    assert [s.helpers for s in helper_sets("a", "a")] == [(), ("a",)]
    assert count_sets(14, 3) == 2 * 3 + 3


def test_the_screen_comes_first_and_decides_who_goes_on():
    plan = SelectionPlan(selection())
    assert plan.finalists({}) is None
    outcomes, order = simulate(plan, flat, bandit=BELIEFS)
    screening = [unit.id for unit in plan.screening()]
    assert order[:2] == screening == ["with-copy-related-noise-enemy-linear-lr0.003-s0", "trial"]
    assert plan.finalists(outcomes) == ("copy", "related", "noise")
    assert "with-copy-related-linear-lr0.003-s4" in order
    assert not any(name.startswith("with-enemy") for name in order)


def test_the_main_task_alone_and_all_candidates_do_not_wait_for_the_screen():
    plan = SelectionPlan(selection())
    ready = {unit.id for unit in plan.startable({})}
    assert {"alone-lr0.001-s0", "with-copy-related-noise-enemy-linear-lr0.001-s0"} <= ready
    assert not any(name.startswith("with-copy-linear") for name in ready)
    # As many candidates as finalists: nothing is chosen, so nothing is waited for.
    everybody = SelectionPlan(selection(HELPERS[:3]))
    assert everybody.finalists({}) == HELPERS[:3]
    assert "with-copy-linear-lr0.001-s0" in {unit.id for unit in everybody.startable({})}


def test_seeds_go_in_step():
    _, order = simulate(SelectionPlan(selection()), flat, bandit=BELIEFS)
    seeds = [int(name.rsplit("-s", 1)[1]) for name in order if name != "trial"]
    after_search = seeds[seeds.index(1) :]
    assert after_search == sorted(after_search)


def test_only_the_network_of_all_tasks_with_equal_weights_records_gradients():
    plan = SelectionPlan(selection(method=Choice("gcs")))
    assert plan.recorded().id == "screen-lr0.003-s0"
    assert plan.recorded().config["conflict"] == "tail"
    assert plan.recorded().config["method"]["name"] == "linear"
    assert "conflict" not in plan.unit(plan.everyone, 1e-3, 0).config
    assert "conflict" not in plan.unit(plan.alone, 1e-3, 0).config


def test_a_method_with_a_main_task_is_told_which_it_is():
    plan = SelectionPlan(selection(method=Choice("gcs")))
    assert plan.unit(plan.everyone, 1e-3, 0).config["method"]["arguments"]["main"] == "price"
    named = SelectionPlan(selection(method=Choice("gcs", {"main": "copy"})))
    assert named.unit(named.everyone, 1e-3, 0).config["method"]["arguments"]["main"] == "copy"
    # The main task alone needs no balancing, whatever the method.
    assert plan.unit(plan.alone, 1e-3, 0).config["method"]["name"] == "linear"


def test_the_main_task_alone_is_a_plain_network_under_every_architecture():
    plan = SelectionPlan(selection(architecture=Choice("mmoe")))
    assert plan.unit(plan.alone, 1e-3, 0).config["architecture"]["name"] == "hard_sharing"
    assert plan.unit(plan.everyone, 1e-3, 0).config["architecture"]["name"] == "mmoe"


def test_a_recipe_is_in_the_runs_of_its_tasks_only():
    recipe = Recipe(Choice("quantised", {"of": "price"}), ("noise",))
    plan = SelectionPlan(selection(recipes=(recipe,)))
    assert "auxiliary" not in plan.unit(plan.alone, 1e-3, 0).config
    assert plan.unit(plan.everyone, 1e-3, 0).config["auxiliary"] == [
        {"name": "quantised", "arguments": {"of": "price"}}
    ]


def test_names_of_sets_are_those_of_their_helpers_whoever_are_the_finalists():
    few = SelectionPlan(selection(finalists=1))
    many = SelectionPlan(selection(finalists=3))
    ids = [{unit.id for unit in p.screening()} for p in (few, many)]
    assert ids[0] == ids[1]
    done, _ = simulate(few, flat, bandit=BELIEFS)
    _, order = simulate(many, flat, bandit=BELIEFS, outcomes=dict(done))
    assert len(order) == many.total - few.total


def test_a_failed_screen_ranks_by_what_is_left_and_says_so():
    plan = SelectionPlan(selection())
    outcomes, _ = simulate(
        plan, flat, cosines={"enemy": 0.9, "noise": 0.5}, fails=lambda unit: unit.id == "trial"
    )
    found = plan.screen(outcomes)
    assert found.finalists[:2] == ("enemy", "noise")
    assert "bandit failed: out of memory" in found.remarks[0]
    recorder = plan.recorded().id
    other = SelectionPlan(selection())
    outcomes, _ = simulate(other, flat, bandit=BELIEFS, fails=lambda unit: unit.id == recorder)
    found = other.screen(outcomes)
    assert found.finalists == ("copy", "related", "noise")
    assert found.helpers[0]["agreement"]["cosine"] == {"undefined": "out of memory"}


def test_a_fighting_gradient_is_marked_beyond_two_standard_errors():
    plan = SelectionPlan(selection())
    outcomes, _ = simulate(plan, flat, bandit=BELIEFS, cosines={"enemy": -0.5, "copy": 0.9})
    found = {entry["task"]: entry for entry in plan.screen(outcomes).helpers}
    assert found["enemy"]["fights"]
    assert found["enemy"]["agreement"]["cosine"] == pytest.approx(-0.5, abs=0.05)
    assert not found["noise"]["fights"]
    assert [found[task]["rank"] for task in HELPERS] == [1, 2, 3, 4]


def test_beliefs_that_are_not_told_apart_are_ranked_by_agreement():
    plan = SelectionPlan(selection())
    # All within the interval of the best: the bandit has not told them apart.
    close = {"copy": 0.55, "related": 0.6, "noise": 0.5, "enemy": 0.52}
    cosines = {"noise": 0.8, "enemy": -0.5, "copy": 0.3}
    outcomes, _ = simulate(plan, flat, bandit=close, cosines=cosines)
    assert plan.finalists(outcomes) == ("noise", "copy", "related")
    assert not any(entry["behind"] for entry in plan.screen(outcomes).helpers)


def test_who_is_told_from_the_best_comes_last_whatever_its_agreement():
    plan = SelectionPlan(selection(finalists=1))
    beliefs = {"copy": 0.3, "related": 0.6, "noise": 0.5, "enemy": 0.52}
    outcomes, _ = simulate(
        plan, flat, bandit=beliefs, cosines={"copy": 0.9, "noise": 0.4, "related": 0.2}
    )
    found = plan.screen(outcomes)
    assert [entry["task"] for entry in found.helpers] == ["noise", "related", "enemy", "copy"]
    assert [entry["behind"] for entry in found.helpers] == [False, False, False, True]
    assert found.finalists == ("noise",)


def test_words_that_cannot_be():
    with pytest.raises(UserError, match="did you mean 'price'"):
        known_main("prize", ["price", "copy"])
    with pytest.raises(UserError, match="expected the name of one task"):
        known_main(["price"], ["price"])
    with pytest.raises(UserError, match="cannot be its own helper"):
        known_candidates(["price"], "price", ["price", "copy"])
    with pytest.raises(UserError, match="did you mean 'copy'"):
        known_candidates(["cop"], "price", ["price", "copy"])
    with pytest.raises(UserError, match="given twice"):
        known_candidates(["copy", "copy"], "price", ["price", "copy"])
    for none in (None, []):
        with pytest.raises(UserError, match="expected at least one helper task"):
            known_candidates(none, "price", ["price"])
    assert known_candidates("copy", "price", ["price", "copy"]) == ("copy",)
    with pytest.raises(UserError, match="expected one, found 2"):
        choose_one("method", ["linear", "gcs"])
    with pytest.raises(UserError, match="shares nothing"):
        choose_one("architecture", "single_task")
    assert known_candidates(["copy"], "price", ["price", "copy"], ["bins"]) == ("copy", "bins")
    assert known_candidates(None, "price", ["price"], ["bins"]) == ("bins",)
    with pytest.raises(UserError, match="expected how many go on"):
        check_finalists(["copy"])
    with pytest.raises(UserError, match="whole number above 0"):
        check_finalists(0)
