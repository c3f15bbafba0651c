"""The plan of a study of several data sets: schedules as candidates, what is left out, hashes."""

from __future__ import annotations

from typing import Any

import pytest
from study_simulation import TASKS, settings, simulate

from polytask.errors import UserError
from polytask.optimization.scheduling import DEFAULT
from polytask.report.results import read
from polytask.study.analysis import analyse
from polytask.study.mixing import (
    DEFAULT_SCHEDULES,
    Mixed,
    check_followed,
    choose_schedules,
    maps_tasks,
    usual_methods,
)
from polytask.study.plan import Outcomes, Plan, Unit
from polytask.study.settings import DEFAULT_METHODS, Choice, choose_methods

LINEAR, RLW, MGDA = (Choice(name) for name in ("linear", "rlw", "mgda"))
PROPORTIONAL = Choice("proportional")
ROOTS = Choice("temperature", {"alpha": 0.5})
SLOW = Choice("temperature", {"alpha": 0.5})
SETS = {"price": ("price",), "sold": ("sold",)}


def mixed(*schedules: Choice, **changes: Any) -> Mixed:
    words = {"batch_size": {"price": 32, "sold": 8}, **changes}
    return Mixed(words.pop("sets", SETS), schedules or (PROPORTIONAL,), **words)


def ids(plan: Plan) -> list[str]:
    return [contender.id for contender in plan.candidates]


def test_schedules_are_tried_with_every_method_and_baselines_with_the_first() -> None:
    plan = Plan(
        settings(methods=(LINEAR, RLW, MGDA), mixed=mixed(SLOW, PROPORTIONAL, tasks_per_step=2))
    )
    assert ids(plan) == [
        "hard_sharing-linear-temperature-alpha0.5",
        "hard_sharing-rlw-temperature-alpha0.5",
        "hard_sharing-mgda-temperature-alpha0.5",
        "hard_sharing-linear-proportional",
        "hard_sharing-mgda-proportional",
    ]
    assert plan.scheduled
    assert [c.schedule for c in plan.singles] == [None, None]


def test_random_weights_have_no_part_where_steps_have_one_task() -> None:
    alone = mixed()
    assert alone.alone
    assert ids(Plan(settings(methods=(LINEAR, RLW), mixed=alone))) == [
        "hard_sharing-linear-proportional"
    ]
    assert not mixed(tasks_per_step=2).alone
    assert not mixed(tasks_per_step="all").alone
    together = mixed(sets={"price+sold": ("price", "sold")}, batch_size={"price+sold": 8})
    assert not together.alone
    assert usual_methods(alone) == ("linear",)
    assert usual_methods(together) == usual_methods(None) == DEFAULT_METHODS


def test_a_schedule_of_gramians_goes_with_methods_that_measure_them() -> None:
    conflict = Choice("most_conflict")
    several = mixed(PROPORTIONAL, conflict, tasks_per_step=2)
    plan = Plan(settings(methods=(LINEAR, RLW, MGDA), mixed=several))
    assert [i for i in ids(plan) if "conflict" in i] == ["hard_sharing-mgda-most_conflict"]
    check_followed(several, (LINEAR, MGDA))
    for wrong in ((LINEAR,), several), ((LINEAR, MGDA), mixed(PROPORTIONAL, conflict)):
        with pytest.raises(UserError, match=r"schedule most_conflict follows Gramians.*mgda"):
            check_followed(wrong[1], wrong[0])
    # The baselines need one that equal weights can go by.
    assert choose_schedules(["most_conflict"]) == (ROOTS, conflict)
    assert choose_schedules(["most_conflict", "uniform"]) == (Choice("uniform"), conflict)


def test_schedules_are_read_like_methods() -> None:
    assert DEFAULT_SCHEDULES == (DEFAULT,)  # as `Mixture` draws
    assert choose_schedules(None) == (ROOTS,)
    assert choose_schedules({"temperature": {"alpha": 0.5}, "uniform": None}) == (
        SLOW,
        Choice("uniform"),
    )
    assert choose_schedules(["uniform", "uniform"]) == (Choice("uniform"),)
    with pytest.raises(UserError, match="round_robin"):
        choose_schedules("round_robbin")
    with pytest.raises(UserError, match="alpha"):
        choose_schedules([{"temperature": {"alfa": 0.5}}])
    with pytest.raises(UserError, match="at least one"):
        choose_schedules([])


@pytest.mark.parametrize(
    ("data", "several"),
    [
        ({"pos": "pos.csv", "ner": "ner.csv"}, True),
        ({"pos, ner": "both.csv"}, True),
        ({("pos", "ner"): "both.csv"}, True),
        ({"pos": {"morphhb": {"books": ["Ruth"]}}}, True),
        ({"digits": {}}, False),
        ({"digits": None}, False),
        ({"morphhb": {"books": ["Ruth"]}}, False),
        ("digits", False),
        ({}, False),
    ],
)
def test_a_mapping_of_tasks_is_told_from_a_data_set_with_its_options(
    data: Any, several: bool
) -> None:
    assert maps_tasks(data) is several


def test_the_hash_of_a_run_follows_its_schedule_and_its_batches() -> None:
    def probes(plan: Plan) -> dict[str, str]:
        return {unit.id: unit.hash for unit in plan.probes()}

    plain = probes(Plan(settings(mixed=mixed())))
    more = probes(Plan(settings(mixed=mixed(PROPORTIONAL, SLOW))))
    assert plain.items() <= more.items()  # what is there is kept
    assert len(set(more.values())) == len(more)
    other = probes(Plan(settings(mixed=mixed(batch_size={"price": 32, "sold": 16}))))
    assert not set(plain.values()) & set(other.values())
    single = Plan(settings(mixed=mixed())).probe(Plan(settings(mixed=mixed())).singles[1])
    assert single.config["batch_size"] == 8
    assert single.config["mixture"]["schedule"] is None
    # A study of one data set is what it was.
    assert "mixture" not in Plan(settings()).probes()[0].config


def test_gradients_of_one_task_are_not_compared() -> None:
    def recorded(plan: Plan) -> bool:
        outcomes = simulate(plan, lambda unit, task, part: 1.0)[0]
        unit = plan.unit(plan.candidates[0], 1e-3, 0, outcomes)
        return unit is not None and "conflict" in unit.config

    assert not recorded(Plan(settings(mixed=mixed())))
    assert recorded(Plan(settings(mixed=mixed(tasks_per_step=2))))
    both = Plan(settings(mixed=mixed(PROPORTIONAL, SLOW, tasks_per_step=2)))
    assert [c.id for c in both.candidates if both._measured(c)] == [
        "hard_sharing-linear-proportional"
    ]


def test_steps_of_another_schedule_cost_what_their_own_probe_says() -> None:
    plan = Plan(settings(methods=(LINEAR, MGDA), mixed=mixed(PROPORTIONAL, SLOW, tasks_per_step=2)))
    outcomes, _ = simulate(plan, lambda unit, task, part: 1.0)
    slow = next(c for c in plan.candidates if c.method == MGDA and c.schedule == SLOW)
    known = outcomes[plan.probe(slow).hash]
    outcomes[plan.probe(slow).hash] = {**known, "step_seconds": 0.03, "reference_seconds": 0.02}
    assert plan.relative_cost(slow, outcomes) == pytest.approx(3.0)  # of 0.01, by proportional


def results_of(plan: Plan, better: str = "") -> dict[str, Any]:
    """The analysis of a study in which the networks with this in their name do better."""
    examples = {"price": 400, "sold": 100}

    def score(unit: Unit, task: str, part: str) -> float:
        up = TASKS[task]["direction"] == "max"
        good = 1.1 if better and better in unit.id else 1.0
        noise = 0.001 * (hash((unit.config["seed"], task)) % 7)
        return (0.7 * good if up else 2.0 / good) + noise

    outcomes: Outcomes
    outcomes, _ = simulate(plan, score)
    for outcome in outcomes.values():
        if "weights" in outcome:
            passes = 2.0 if len(outcome["weights"]) == 1 else 1.0
            outcome["mixture"] = {"examples": examples, "passes": passes}
    sets = [
        {"name": n, "data": f"{n}.csv", "tasks": [n], "n": 100, "left_out": 0, "redrawn": 0.2,
         "rows": {"train": 70, "val": 15, "test": 15}, "batch_size": 8}
        for n in ("price", "sold")
    ]  # fmt: skip
    known = {
        "tasks": {t: dict(f, trivial=0.5) for t, f in TASKS.items()},
        "dataset": {"name": "price+sold", "n": 200, "sets": sets,
                    "splits": {"train": 140, "val": 30, "test": 30}},
        "redrawn": 0.2,
    }  # fmt: skip
    return analyse(plan, known, outcomes)


def test_names_and_the_verdict_say_the_schedule_where_there_are_several() -> None:
    plan = Plan(settings(methods=(LINEAR, RLW), mixed=mixed(PROPORTIONAL, SLOW)))
    found = results_of(plan, better="temperature")
    assert [c["name"] for c in found["candidates"]] == [
        "linear · proportional",
        "linear · temperature (alpha=0.5)",
    ]
    assert [c["baseline"] for c in found["candidates"]] == [True, False]
    assert [c["schedule"] for c in found["candidates"]] == [
        "proportional",
        "temperature (alpha=0.5)",
    ]
    said = found["verdict"]["sentence"]
    best = "linear · temperature (alpha=0.5)"
    assert said.count(best) > 1
    assert "beats tuned equal weights (linear · proportional) beyond noise" in said
    tied = results_of(plan)["verdict"]["sentence"]
    assert "No way of drawing data sets beats tuned equal weights (linear · proportional)" in tied
    assert any("nothing to balance, and rlw is left out" in r for r in found["remarks"])
    assert read(found).candidates[0].label == best
    one = results_of(Plan(settings(methods=(LINEAR, RLW), mixed=mixed())))
    assert [c["name"] for c in one["candidates"]] == ["linear"]


def test_curves_of_separate_networks_are_drawn_by_the_steps_of_the_others() -> None:
    found = results_of(Plan(settings(methods=(LINEAR, RLW), mixed=mixed())))
    assert found["single_task"]["sold"]["curves"]["epochs"] == [0.5, 1.0]
    assert found["candidates"][0]["curves"]["sold"]["epochs"] == [1, 2]
    assert found["single_task"]["sold"]["examples"] == {"sold": 100}
    assert found["candidates"][0]["examples"] == {"price": 400, "sold": 100}


def test_asked_methods_stay_where_steps_have_one_task() -> None:
    plan = Plan(settings(methods=choose_methods(["pcgrad"]), mixed=mixed()))
    assert [c.method.name for c in plan.candidates] == ["linear", "pcgrad"]


def test_a_network_that_did_best_in_its_last_epoch_may_not_be_at_its_end() -> None:
    plan = Plan(settings(methods=(LINEAR, RLW), mixed=mixed(), epochs=1))
    said = [remark for remark in results_of(plan)["remarks"] if "still getting better" in remark]
    assert said[0].startswith("The chosen network was still getting better: in 5 of 5 seeds")
    plan = Plan(settings(methods=(LINEAR, RLW), mixed=mixed(), epochs=2))
    assert not any("still getting better" in remark for remark in results_of(plan)["remarks"])
