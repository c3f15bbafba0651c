"""Numbers and words of a selection, by hand."""

import json

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from selection_simulation import HELPERS, facts, selection, simulate

from polytask.study.selection.analysis import analyse
from polytask.study.selection.effects import choose
from polytask.study.selection.plan import SelectionPlan

BELIEFS = {"copy": 0.7, "related": 0.65, "noise": 0.61, "enemy": 0.2}
WORTH = {"copy": 0.10, "related": 0.04, "noise": 0.0, "enemy": -0.08}
"""What each helper adds to a score of 0.5, alone or beside others."""
NOISE = np.random.default_rng(3).normal(scale=0.004, size=(64, 8))


def additive(unit, part, worth=WORTH, sign=1):
    helpers = unit.config["tasks"][1:]
    shift = 0.001 if part == "val" else 0.0
    place = sum(ord(letter) for letter in "".join(helpers)) % 64
    gain = sum(worth[task] for task in helpers) + NOISE[place, unit.config["seed"]]
    return 0.5 + sign * gain + shift


def results(score=additive, redrawn=0.0, bandit=BELIEFS, fails=lambda unit: False, **changes):
    plan = SelectionPlan(selection(**changes))
    outcomes, _ = simulate(plan, score, bandit=bandit, fails=fails)
    found = analyse(plan, facts(plan, redrawn), outcomes)
    json.dumps(found, allow_nan=False)
    return found


def of(found, *helpers):
    return next(entry for entry in found["sets"] if set(entry["helpers"]) == set(helpers))


def test_what_each_helper_adds_in_percent_of_the_main_task_alone():
    found = results()
    alone = np.array(of(found)["test"])
    with_copy = np.array(of(found, "copy")["test"])
    gained = 100 * (with_copy - alone) / alone.mean()
    add = found["helpers"]["copy"]["add"]
    assert add["differences"] == pytest.approx(gained)
    assert add["mean"] == pytest.approx(gained.mean()) == pytest.approx(20, abs=2)
    assert of(found, "copy")["gain_mean"] == add["mean"]
    assert add["p"] == pytest.approx(ttest_1samp(gained, 0).pvalue)
    low, high = ttest_1samp(gained, 0).confidence_interval(0.95)
    assert (add["low"], add["high"]) == pytest.approx((low, high))
    together = np.array(of(found, "copy", "related", "noise")["test"])
    others = np.array(of(found, "related", "noise")["test"])
    leave = found["helpers"]["copy"]["leave"]
    assert leave["differences"] == pytest.approx(100 * (together - others) / alone.mean())


def test_words_are_corrected_over_the_finalists_for_each_question_apart():
    found = results()
    assert found["finalists"] == ["copy", "related", "noise"]
    words = {task: (e["add"]["word"], e["leave"]["word"]) for task, e in found["helpers"].items()}
    assert words["copy"] == words["related"] == ("helps", "helps")
    assert words["noise"][0] == "no evidence"
    for question in ("add", "leave"):
        raw = sorted(entry[question]["p"] for entry in found["helpers"].values())
        adjusted = sorted(entry[question]["p_holm"] for entry in found["helpers"].values())
        assert adjusted[0] == pytest.approx(3 * raw[0])
        assert adjusted[-1] >= raw[-1]


@pytest.mark.parametrize(("direction", "sign"), [("max", 1), ("min", -1)])
def test_positive_is_better_whatever_the_metric(direction, sign):
    found = results(lambda u, p: additive(u, p, sign=sign), direction=direction)
    assert found["helpers"]["copy"]["add"]["mean"] > 10
    assert found["helpers"]["copy"]["add"]["word"] == "helps"
    assert set(found["recommended"]["helpers"]) <= {"copy", "related", "noise"}
    assert {"copy", "related"} <= set(found["recommended"]["helpers"])


def test_the_set_is_chosen_on_validation_and_judged_on_test():
    def misleading(unit, part):
        helpers = unit.config["tasks"][1:]
        if part == "val":
            return 0.9 if list(helpers) == ["noise"] else 0.5
        return additive(unit, part)

    found = results(misleading)
    chosen = found["recommended"]
    assert chosen["helpers"] == ["noise"]
    assert chosen["versus_none"]["word"] == "no evidence"
    assert "No evidence that helpers change price: noise" in found["verdict"]["sentence"]
    assert "ties with price alone" in found["verdict"]["sentence"]


def test_of_sets_within_one_standard_error_the_smallest_is_chosen():
    def chosen(direction="max", redrawn=0.0, **columns):
        sign = 1 if direction == "max" else -1
        sets = {
            frozenset(name.strip("_")): {"id": name, "val": [v and sign * v for v in values]}
            for name, values in {"_": [0.5, 0.5, 0.5], **columns}.items()
        }
        return choose(sets, direction, redrawn)["id"]

    # Ahead by 0.01, -0.01 and 0.02: 0.0067 on average, with a standard error of 0.0088.
    close = {"a": [0.60, 0.70, 0.65], "ab": [0.61, 0.69, 0.67]}
    assert chosen(**close) == chosen("min", **close) == "a"
    # Ahead by 0.01, 0.02 and 0.03: 0.02 on average, with 0.0058.
    clear = {"a": [0.60, 0.67, 0.64], "ab": [0.61, 0.69, 0.67]}
    assert chosen(**clear) == "ab"
    # Overlapping splits leave more doubt: sqrt(1/3 + 4) in place of sqrt(1/3).
    assert chosen(**clear, redrawn=4.0) == "a"
    # Of one size the better one; what lacks a seed is not looked at.
    assert chosen(a=[0.6, 0.7, 0.65], b=[0.61, 0.69, 0.67]) == "b"
    assert chosen(a=[0.9, 0.9, None], b=[0.6, 0.6, 0.6]) == "b"


def test_equal_sets_are_decided_for_the_smaller_one():
    found = results(lambda unit, part: 0.7)
    assert found["recommended"]["helpers"] == []
    assert found["recommended"]["versus_none"] is None
    assert found["verdict"]["sentence"].startswith(
        "Train price alone: on validation no set of helpers was better by more than one standard "
        "error. Against all 4 candidates together price alone is a tie"
    )


def test_the_sentence_says_gain_tie_and_cost():
    found = results()
    said = found["verdict"]["sentence"]
    assert said.startswith("Train price with copy")
    assert "better against price alone" in said
    assert "Against all 4 candidates together it is better beyond noise" in said
    assert "copy and related help" in said
    assert "no evidence for or against noise" in said
    assert "one of price alone" in said
    assert "proving every candidate would take" in said
    assert "pulled against that of price" in " ".join(found["remarks"])
    sentence = found["verdict"]["helpers"]["copy"]["sentence"]
    assert sentence.startswith("copy: helps, +")
    assert "Holm-adjusted p < 0.001" in sentence
    assert "beside the other finalists it still helps" in sentence


def test_a_helper_that_hurts():
    found = results(candidates=("enemy", "noise"), bandit=None)
    assert found["helpers"]["enemy"]["add"]["word"] == "hurts"
    assert "enemy hurts" in found["verdict"]["sentence"]
    assert "enemy" not in found["recommended"]["helpers"]
    assert found["screen"]["trial"] is False


@pytest.mark.parametrize(
    ("seeds", "word"), [(1, "leans helps"), (2, "leans helps"), (4, "leans helps")]
)
def test_few_seeds_lean_at_most(seeds, word):
    found = results(seeds=seeds)
    assert found["helpers"]["copy"]["add"]["word"] == word
    assert found["verdict"]["sentence"].startswith("Leans towards training price with copy")
    assert "leanings only" in found["verdict"]["confidence_note"]
    if seeds == 1:
        assert found["helpers"]["copy"]["add"]["low"] is None
        assert "One seed gives no interval" in found["verdict"]["confidence_note"]


def test_redrawn_splits_widen_intervals():
    plain, redrawn = results(), results(redrawn=0.2)
    for found, factor in ((plain, 1.0), (redrawn, np.sqrt((0.2 + 0.2) / 0.2))):
        add, basis = found["helpers"]["copy"]["add"], plain["helpers"]["copy"]["add"]
        width = (add["high"] - add["low"]) / (basis["high"] - basis["low"])
        assert width == pytest.approx(factor)
    assert "Nadeau and Bengio" in redrawn["verdict"]["confidence_note"]


def test_a_failed_seed_is_left_out_of_every_comparison_with_it():
    found = results(fails=lambda unit: unit.id == "with-copy-linear-lr0.001-s3")
    add = found["helpers"]["copy"]["add"]
    assert (len(add["differences"]), add["word"]) == (4, "leans helps")
    assert len(found["helpers"]["related"]["add"]["differences"]) == 5
    assert found["complete"]
    assert "+ copy: seed 3 failed and is left out." in found["remarks"]
    # A set that lacks seeds is not chosen.
    assert found["recommended"]["helpers"] != ["copy"]


def test_a_study_cut_short_says_what_is_missing():
    plan = SelectionPlan(selection())
    for stop in (0, 2, 12):
        outcomes, _ = simulate(plan := SelectionPlan(selection()), additive, bandit=BELIEFS,
                               stop=stop)  # fmt: skip
        found = analyse(plan, facts(plan), outcomes)
        assert not found["complete"]
        assert found["missing"]
        json.dumps(found, allow_nan=False)
    assert found["finalists"] == ["copy", "related", "noise"]
    nothing = analyse(plan := SelectionPlan(selection()), facts(plan), {})
    assert nothing["recommended"] is None
    assert nothing["verdict"]["sentence"].startswith("No verdict yet")
    assert "screen: trial" in nothing["missing"]


def test_an_undefined_score_is_a_reason_not_a_number():
    def broken(unit, part):
        return {"undefined": "one class only"} if part == "test" else 0.5

    found = results(broken)
    assert found["sets"][0]["mean"] == {"undefined": "one class only"}
    assert found["helpers"]["copy"]["add"]["word"] == "undefined"
    assert "no verdict" in found["verdict"]["helpers"]["copy"]["sentence"]


def test_costs_count_runs_of_screen_and_proof_once():
    found = results()
    plan = SelectionPlan(selection())
    cost = found["cost"]
    assert cost["screen"] == {"runs": 2, "seconds": 4.0}
    assert cost["screen"]["runs"] + cost["proof"]["runs"] == cost["planned"] == plan.total
    # Every candidate: none, 4 alone, all 4, 4 times three of them; no trial.
    assert cost["every_candidate"] == 10 * (2 + 4)
    assert of(found, *HELPERS)["cost"]["relative"] == pytest.approx(5.0)


def test_two_questions_are_one_for_a_single_finalist():
    found = results(finalists=1)
    assert found["finalists"] == ["copy"]
    copy = found["helpers"]["copy"]
    assert copy["add"]["mean"] == copy["leave"]["mean"]
    assert "beside the other" not in found["verdict"]["helpers"]["copy"]["sentence"]
    assert {len(entry["helpers"]) for entry in found["sets"]} == {0, 1, 4}
