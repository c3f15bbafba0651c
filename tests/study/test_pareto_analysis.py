"""The analysis of a front, on outcomes made from a formula: front, steering, hypervolume."""

import json

import pytest
from study_simulation import TASKS, facts, simulate
from test_pareto_plan import make

from polytask.study.fronts.analysis import analyse, point_name


def score(unit, task, part):
    """Price is a loss, sold is not; a preference moves along a known front."""
    noise = 1e-3 * unit.config["seed"] * (1 if task == "price" else -1)
    told = unit.config["method"]["arguments"].get("preference")
    if told is None:
        return (1.0 if task == "price" else 0.9) + noise
    share = told[task]
    if task == "price":
        return 2.0 - share + noise
    return 0.7 + 0.2 * share + noise


def results(plan=None, formula=score, **options):
    plan = plan or make()
    outcomes, _ = simulate(plan, formula)
    found = analyse(plan, facts(plan), outcomes, **options)
    json.dumps(found, allow_nan=False)
    return found


def test_every_point_is_there_with_its_gains():
    found = results()
    assert (found["kind"], found["schema"], found["complete"]) == ("pareto", 1, True)
    assert [p["id"] for p in found["points"]] == ["point1-epo", "point2-epo", "point3-epo"]
    first = found["points"][0]
    share = first["preference"]["price"]
    assert first["tasks"]["price"]["mean"] == pytest.approx(2 - share + 2e-3)
    assert first["tasks"]["price"]["gain_mean"] == pytest.approx(
        -100 * (1 - share) / 1.002, rel=1e-6
    )
    assert found["lr"] == 1e-3
    assert set(found["single_task"]) == set(TASKS)
    assert found["seeds"] == [0, 1, 2, 3, 4]


def test_preferences_steer():
    found = results()["steering"]
    assert {t: e["word"] for t, e in found.items()} == {"price": "moves", "sold": "moves"}
    assert (found["price"]["most"], found["price"]["least"]) == ("point1-epo", "point3-epo")
    assert found["price"]["mean"] > 0


def test_a_preference_that_does_nothing_is_said():
    def flat(unit, task, part):
        return 1.0 + 0.01 * ((unit.config["seed"] * 7 + len(unit.id)) % 3)

    def against(unit, task, part):
        told = unit.config["method"]["arguments"].get("preference")
        return 1.0 if told is None else 1.0 + (1 if task == "price" else -1) * told[task]

    found = results(formula=lambda u, t, p: flat(u, t, p) if t == "sold" else against(u, t, p))
    assert found["steering"]["price"]["word"] == "moves the wrong way"
    assert found["steering"]["sold"]["word"] == "no evidence"
    assert any("does not visibly steer price and sold" in said for said in found["remarks"])


def test_the_front_is_of_validation():
    def formula(unit, task, part):
        value = score(unit, task, part)
        told = unit.config["method"]["arguments"].get("preference")
        if told is not None and told["price"] == 0.5 and part == "val":
            return value + (5.0 if task == "price" else -0.5)  # worse on validation alone
        return value

    assert [p["front"] for p in results()["points"]] == [True, True, True]
    found = results(formula=formula)
    assert [p["front"] for p in found["points"]] == [True, False, True]
    assert found["verdict"]["sentence"].startswith("2 of 3 trade-offs are on the front")


class TestHypervolume:
    def test_by_hand(self):
        """The two outer points, in the box from (2, 0.7) to the single-task scores (1, 0.9)."""
        found = results(make(count=2, seeds=1), reference={"price": 2.0, "sold": 0.7})
        shares = [(p["preference"]["price"], p["preference"]["sold"]) for p in found["points"]]
        (a, b), (c, d) = shares
        volume = found["hypervolume"]
        assert (volume["given"], volume["reference"]) == (True, {"price": 2.0, "sold": 0.7})
        assert volume["mean"] == pytest.approx(a * b + c * d - c * b)
        assert volume["ideal"] == {"price": 1.0, "sold": 0.9}

    def test_the_reference_is_a_tenth_behind_the_worst(self):
        volume = results(make(count=2, seeds=1))["hypervolume"]
        worst = 2 - min(p["preference"]["price"] for p in results(make(count=2))["points"])
        assert volume["reference"]["price"] == pytest.approx(worst + 0.1 * (worst - 1))
        assert volume["reference"]["sold"] < 0.73
        assert not volume["given"]

    def test_one_value_a_seed(self):
        volume = results()["hypervolume"]
        assert len(volume["values"]) == 5
        assert volume["sd"] > 0

    def test_a_reference_before_the_ideal_is_no_reference(self):
        volume = results(reference={"price": 0.5, "sold": 0.7})["hypervolume"]
        assert "price is not behind" in volume["undefined"]

    def test_too_many_tasks(self):
        tasks = {f"t{i}": TASKS["price"] for i in range(7)}
        plan = make("epo", 1, tasks=tasks)
        outcomes, _ = simulate(plan, lambda u, t, p: 1.0 + u.config["seed"])
        assert (
            "more than 6 tasks" in analyse(plan, facts(plan), outcomes)["hypervolume"]["undefined"]
        )


class TestIncomplete:
    @pytest.mark.parametrize("stop", [0, 1, 4, 7, 15, 27])
    def test_any_cut_gives_results(self, stop):
        plan = make()
        outcomes, _ = simulate(plan, score, stop=stop)
        found = analyse(plan, facts(plan), outcomes)
        json.dumps(found, allow_nan=False)
        assert not found["complete"]
        assert found["missing"]
        assert found["verdict"]["sentence"]

    def test_failed_runs_are_told(self):
        def formula(unit, task, part):
            if unit.id.startswith("point1") and unit.config["seed"] == 2:
                raise RuntimeError("no memory")
            return score(unit, task, part)

        found = results(formula=formula)
        assert found["complete"]
        (failed,) = found["points"][0]["failed"]
        assert (failed["seed"], failed["cause"]) == (2, "no memory")
        assert "Runs failed at" in found["remarks"][-1]

    def test_a_search_that_failed_ends_the_study(self):
        def formula(unit, task, part):
            if unit.id.startswith("point"):
                raise RuntimeError("no memory")
            return score(unit, task, part)

        found = results(formula=formula)
        assert (found["complete"], found["missing"]) == (True, [])
        assert {p["front"] for p in found["points"]} == {None}
        assert "undefined" in found["hypervolume"]


def test_names_of_points():
    assert point_name({"a": 0.25, "b": 0.75}) == "0.25 a, 0.75 b"
    assert point_name(dict.fromkeys("abcd", 0.25)) == "0.25 / 0.25 / 0.25 / 0.25"
