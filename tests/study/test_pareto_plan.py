"""Fronts: preferences, how methods are told of them, and which runs there are."""

import numpy as np
import pytest
from study_simulation import TASKS, settings, simulate

import polytask
from polytask.errors import UserError
from polytask.study.fronts.plan import ParetoPlan
from polytask.study.fronts.points import (
    WORDS,
    choose_method,
    criterion,
    middle,
    points,
    preferences,
)
from polytask.study.settings import Choice


def make(method="epo", count=3, own=False, **changes):
    told = points(choose_method(method), list(changes.get("tasks", TASKS)), count)
    return ParetoPlan(settings(methods=(told[0].choice,), **changes), told, own)


def score(unit, task, part):
    lr = unit.config["lr"]
    return 1.0 + lr if task == "price" else 0.7 - lr


class TestPreferences:
    @pytest.mark.parametrize("count", [1, 2, 5, 8])
    def test_two_tasks_are_at_equal_angles(self, count):
        found = np.array([list(p.values()) for p in preferences(["a", "b"], count)])
        assert found.shape == (count, 2)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=2e-6)
        angles = np.degrees(np.arctan2(found[:, 1], found[:, 0]))
        expected = np.linspace(9, 81, count) if count > 1 else [45]
        np.testing.assert_allclose(angles, expected, atol=1e-3)

    @pytest.mark.parametrize(("tasks", "count", "number"), [(3, 3, 3), (3, 5, 6), (5, 6, 15)])
    def test_more_tasks_are_inner_points_of_a_lattice(self, tasks, count, number):
        names = [f"t{i}" for i in range(tasks)]
        found = np.array([list(p.values()) for p in preferences(names, count)])
        assert found.shape == (number, tasks)
        assert found.min() > 0
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(np.sort(found, axis=0).std(axis=1), 0, atol=1e-9)
        assert len({tuple(row) for row in found}) == number

    def test_the_middle_is_the_most_even_one(self):
        assert middle(points(Choice("epo"), ["a", "b"], 5)) == 2
        assert middle(points(Choice("epo"), ["a", "b"], 4)) == 1
        six = points(Choice("epo"), ["a", "b", "c"], 6)
        assert max(six[middle(six)].preference.values()) == pytest.approx(1.5 / 3.5, abs=1e-5)

    @pytest.mark.parametrize("name", WORDS)
    def test_every_method_is_told_and_can_be_made(self, name):
        told = points(choose_method(name), ["a", "b"], 3)
        first = told[0]
        assert first.preference["a"] > first.preference["b"]
        made = polytask.create_method(first.choice.name, **first.choice.arguments)
        words = set(first.choice.arguments) - {"mu"}
        assert words == set(WORDS[name])
        if name == "pareto_mtl":
            # Who counts more has the smaller part of the loss.
            vector = made.preferences[made.place]
            assert vector["a"] < vector["b"]

    def test_arguments_of_the_user_are_kept(self):
        (one,) = points(choose_method({"stch": {"mu": 0.3}}), ["a", "b"], 1)
        assert one.choice.arguments["mu"] == 0.3
        (one,) = points(choose_method({"epo": {"eps": 0.01}}), ["a", "b"], 1)
        assert one.choice.arguments == {"preference": {"a": 0.5, "b": 0.5}, "eps": 0.01}

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            ("pcgrad", "method that takes a preference"),
            ("epoo", "did you mean 'epo'"),
            (["epo", "stch"], "expected one, found 2"),
            ({"epo": {"preference": {"a": 1}}}, "preference is what the study varies"),
            ({"linear": {"weights": {"a": 1}}}, "weights is what the study varies"),
            ({"pareto_mtl": {"preferences": 3}}, "preferences is what the study varies"),
            ({"stch": {"normalization": "nadir"}}, "normalization is what the study varies"),
        ],
    )
    def test_wrong_methods(self, raw, message):
        with pytest.raises(UserError, match=message):
            choose_method(raw)


class TestPlan:
    def test_only_the_middle_is_searched(self):
        plan = make()
        assert plan.middle.id == "point2-epo"
        _, order = simulate(plan, score)
        # 2 tasks alone and the middle: 2 rates and 4 more seeds; the others: 5 seeds.
        assert len(order) == len(set(order)) == plan.total == 3 * 6 + 2 * 5
        assert sum(name.startswith("point1") for name in order) == 5
        assert {name for name in order if name.endswith("-s0") and "point2" in name} == {
            "point2-epo-lr0.001-s0", "point2-epo-lr0.003-s0"
        }  # fmt: skip

    def test_all_points_have_the_rate_of_the_middle(self):
        plan = make()
        outcomes, order = simulate(plan, score)
        assert {plan.chosen_lr(c, outcomes) for c in plan.candidates} == {1e-3}
        assert not any("point1" in name and "lr0.003" in name for name in order)

    def test_points_wait_for_the_search(self):
        plan = make()
        outcomes, order = simulate(plan, score, stop=5)
        assert all("point" not in name or "point2" in name for name in order)
        assert plan.known(plan.candidates[0], outcomes) == []

    def test_runs_are_told_their_preference(self):
        plan = make("pareto_mtl")
        outcomes, _ = simulate(plan, score)
        found = [plan.unit(c, 1e-3, 0, outcomes).config["method"] for c in plan.candidates]
        assert [m["arguments"]["preference"] for m in found] == [0, 1, 2]
        assert all(m["arguments"]["scale"] == "sum" for m in found)
        assert len({plan.unit(c, 1e-3, 0, outcomes).hash for c in plan.candidates}) == 3

    @pytest.mark.parametrize(
        ("method", "word"),
        [
            ("linear", "weighted_loss"),
            ("epo", "worst_loss"),
            ("stch", "worst_loss"),
            ("pareto_mtl", "worst_loss"),
        ],
    )
    def test_every_point_chooses_its_epoch_by_its_own_criterion(self, method, word):
        plan = make(method, own=True)
        outcomes, order = simulate(plan, score)
        assert len(order) == plan.total
        for contender, point in zip(plan.candidates, plan.points, strict=True):
            assert criterion(point) == {word: point.preference}
            config = plan.unit(contender, 1e-3, 0, outcomes).config
            assert config["select"] == {word: point.preference}
            assert config["reference"] is None
        for contender in plan.singles:
            config = plan.unit(contender, 1e-3, 0, outcomes).config
            assert config["select"] == f"main:{contender.tasks[0]}"

    def test_one_rule_for_all_when_it_is_asked_for(self):
        own, shared = make(own=True), make(select="loss")
        outcomes, _ = simulate(shared, score)
        found = [shared.unit(c, 1e-3, 0, outcomes) for c in shared.candidates]
        assert {unit.config["select"] for unit in found} == {"loss"}
        others, _ = simulate(own, score)
        assert {unit.hash for unit in found}.isdisjoint(others)

    def test_points_of_an_own_criterion_wait_for_the_reference_of_the_rates(self):
        """The search compares rates by gains over single-task scores, which must be there."""
        plan = make(own=True)
        _, order = simulate(plan, score)
        first = next(i for i, name in enumerate(order) if "point" in name)
        assert {name for name in order if name.startswith("single") and "-s0" in name} <= set(
            order[:first]
        )
