"""Distilled candidates in the plan: which there are, whom they wait for, whom they learn from."""

import pytest
from study_simulation import TASKS, facts, settings, simulate

from polytask.errors import UserError
from polytask.study.analysis import analyse
from polytask.study.plan import Plan
from polytask.study.settings import DISTILL_FORMS, DISTILL_OPTIONS, Choice, choose_distill
from polytask.training.distillation import FORMS


def flat(unit, task, part):
    """A score that is best at the larger rate, and better where teachers help."""
    base = 2.0 if TASKS[task]["direction"] == "min" else 0.7
    sign = -1 if TASKS[task]["direction"] == "min" else 1
    better = 0.1 * (unit.config.get("lr") == 3e-3) + 0.05 * ("distill" in unit.config)
    return base + sign * better * base * 0.1


def distilled(**changes):
    return Plan(settings(distill={}, **changes))


def test_everything_chosen_is_tried_once_more():
    plan = distilled(architectures=(Choice("hard_sharing"), Choice("mmoe")))
    ids = [contender.id for contender in plan.candidates]
    assert ids == [
        "hard_sharing-linear", "hard_sharing-rlw", "hard_sharing-pcgrad", "mmoe-linear",
        "mmoe-pcgrad", "hard_sharing-linear-distilled", "hard_sharing-pcgrad-distilled",
        "mmoe-linear-distilled", "mmoe-pcgrad-distilled",
    ]  # fmt: skip
    assert [c.baseline for c in plan.candidates] == [True, True, *[False] * 7]
    # hard sharing that nobody chose is the yardstick of equal weights alone
    plan = distilled(architectures=(Choice("mmoe"),))
    assert [c.id for c in plan.candidates if c.distilled] == [
        "mmoe-linear-distilled", "mmoe-pcgrad-distilled",
    ]  # fmt: skip


def test_without_the_word_nothing_changes():
    """Hashes of a study's runs stay, so adding the word keeps what is finished."""
    before, after = Plan(settings()), distilled()
    outcomes, order = simulate(before, flat)
    assert len(order) == before.total
    more, added = simulate(after, flat, outcomes=outcomes)
    assert len(added) == 2 * (2 + 4)
    assert all("-distilled-" in name for name in added)
    assert len(more) > len(order)
    assert after.total == before.total + len(added)


def test_a_run_starts_when_its_teachers_have_ended():
    plan = distilled()
    done = []
    outcomes = {}
    while True:
        _, order = simulate(plan, flat, outcomes=outcomes, stop=1)
        if not order:
            break
        (name,) = order
        seed = name.rsplit("-s", 1)[1]
        if "-distilled-" in name:
            rate = 0.003
            assert {f"single-{t}-lr{rate:g}-s{seed}" for t in TASKS} <= set(done), name
        done.append(name)
    assert len(done) == plan.total


def test_teachers_are_those_of_the_seed_at_their_chosen_rate():
    plan = distilled()
    outcomes, _ = simulate(plan, flat)
    contender = plan.candidates[-1]
    for seed in (0, 3):
        unit = plan.unit(contender, 1e-3, seed, outcomes)
        teachers = unit.config["distill"]["teachers"]
        singles = [plan.unit(c, 3e-3, seed, outcomes) for c in plan.singles]
        assert teachers == {s.config["tasks"][0]: {"run": s.id, "hash": s.hash} for s in singles}
        assert unit.id == f"hard_sharing-pcgrad-distilled-lr0.001-s{seed}"
        assert "conflict" not in unit.config
    probe = plan.probe(contender)
    assert "teachers" not in probe.config["distill"]


def test_options_are_part_of_the_hash():
    units = []
    for options in ({}, {"form": "soft"}, {"form": "soft", "temperature": 2.0}):
        plan = Plan(settings(distill=options))
        outcomes, _ = simulate(plan, flat)
        units.append(plan.unit(plan.candidates[-1], 1e-3, 0, outcomes))
    assert len({unit.hash for unit in units}) == 3
    assert units[1].config["distill"]["options"] == {"form": "soft"}


def test_equal_size_holds_for_teachers():
    plan = distilled(parameters=1000)
    config = plan.probe(plan.candidates[-1]).config
    assert config["parameters"] == 1000
    assert config["distill"]["network"]["parameters"] == 500
    assert plan.probe(plan.singles[0]).config["parameters"] == 500


def test_a_dead_teacher_is_left_out_and_said():
    def score(unit, task, part):
        if unit.id == "single-sold-lr0.003-s2":
            raise RuntimeError("it diverged")
        return flat(unit, task, part)

    plan = distilled()
    outcomes, order = simulate(plan, score)
    assert len(order) == plan.total
    assert list(plan.teachers(2, outcomes)) == ["price"]
    results = analyse(plan, facts(plan), outcomes)
    assert results["complete"]
    assert any(
        "Seed 2: the separate network of sold failed" in remark for remark in results["remarks"]
    )


def test_a_task_whose_search_failed_has_no_teacher():
    def score(unit, task, part):
        if unit.id.startswith("single-sold"):
            raise RuntimeError("it diverged")
        return flat(unit, task, part)

    plan = distilled()
    outcomes, order = simulate(plan, score)
    assert list(plan.teachers(0, outcomes)) == ["price"]
    assert any("-distilled-" in name for name in order)


def test_custom_tasks_teach_features_alone():
    tasks = TASKS | {"own": {"kind": "custom", "role": "main", "metric": "x", "direction": "min"}}
    assert distilled(tasks=tasks).taught == ("price", "sold")
    plan = Plan(settings(tasks=tasks, distill={"form": "features"}))
    assert plan.taught == ("price", "sold", "own")


def test_constructed_tasks_have_no_teacher_and_that_is_said():
    made = {"kind": "binary", "role": "auxiliary", "metric": "auroc", "direction": "max"}
    plan = distilled(tasks=TASKS | {"helper": {**made, "constructed": True}})
    assert plan.taught == ("price", "sold")

    def score(unit, task, part):
        return 0.5 if task == "helper" else flat(unit, task, part)

    outcomes, _ = simulate(plan, score)
    known = facts(plan)
    known["dataset"]["rows_with_helpers"] = 1.0
    remarks = analyse(plan, known, outcomes)["remarks"]
    assert any(remark.startswith("Nobody teaches helper") for remark in remarks)


def test_results_name_them_and_say_what_they_need():
    plan = distilled()
    outcomes, _ = simulate(plan, flat)
    results = analyse(plan, facts(plan), outcomes)
    assert [c["name"] for c in results["candidates"]] == [
        "linear", "rlw", "pcgrad", "linear, distilled", "pcgrad, distilled",
    ]  # fmt: skip
    assert results["chosen"] == "hard_sharing-linear-distilled"
    assert [c["distilled"] for c in results["candidates"]] == [*[False] * 3, True, True]
    (said,) = [r for r in results["remarks"] if r.startswith("Distilled networks learn")]
    assert "2 separate networks of the same seed" in said
    assert "not their training" in said
    plain = analyse(Plan(settings()), facts(plan), outcomes)
    assert not any("istilled" in remark for remark in plain["remarks"])


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (None, None),
        ("single_task", {}),
        ({"from": "single_task"}, {}),
        ({"from": "single_task", "form": "soft", "weight": 0.5}, {"form": "soft", "weight": 0.5}),
    ],
)
def test_the_word(raw, found):
    assert choose_distill(raw) == found


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("hard_sharing", "expected from: single_task.*found 'hard_sharing'"),
        (True, "expected {from: single_task}.*found True"),
        ({"form": "soft"}, "Say whom to learn from"),
        ({"from": "single_task", "forn": "soft"}, "did you mean 'form'"),
        ({"from": "single_task", "form": "sofd"}, "did you mean 'soft'"),
    ],
)
def test_words_that_cannot_be(raw, said):
    with pytest.raises(UserError, match=said):
        choose_distill(raw)


def test_the_words_are_those_of_the_training():
    from polytask.training import Distillation

    assert DISTILL_FORMS == FORMS
    made = Distillation.__init__.__annotations__
    assert set(DISTILL_OPTIONS) == set(made) - {"teachers", "return"}
