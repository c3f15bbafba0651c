"""The analysis on outcomes made from formulas: known gains, known winners, holes."""

import json

import numpy as np
import pytest
from scipy import stats
from study_simulation import TASKS, facts, settings, simulate

from polytask.study.analysis import analyse
from polytask.study.plan import Plan
from polytask.study.settings import Choice
from polytask.study.verdict import _sharing

NOISE = np.random.default_rng(3).normal(0, 1, (5, 2, 4))


def world(gain, noise=0.002, hole=None):
    """Scores: single-task 2.0 (rmse) and 0.8 (auroc); method m is better by `gain[m][task]`.

    Every (seed, task, method) has its own noise, shared by val and test apart from a shift.
    """

    def score(unit, task, part):
        name = unit.config.get("method", {}).get("name", "boosting")
        single = len(unit.config["tasks"]) == 1 and name == "linear"
        kind = "single" if single else name
        seed = unit.config["seed"]
        if hole and (found := hole(kind, task, seed)) is not None:
            if isinstance(found, Exception):
                raise found
            return found
        base, sign = (2.0, -1) if task == "price" else (0.8, 1)
        relative = gain.get(kind, {}).get(task, 0.0) / 100
        column = ("single", "linear", "rlw", "pcgrad", "boosting").index(kind) % 4
        jitter = noise * NOISE[seed, list(TASKS).index(task), column]
        slow = 0.01 if unit.config.get("lr") == 1e-3 else 0.0
        return base * (1 + sign * (relative + jitter - slow))

    return score


def run(gain, redrawn=0.2, score=None, **changes):
    plan = Plan(settings(**changes))
    outcomes, _ = simulate(plan, score or world(gain))
    results = analyse(plan, facts(plan, redrawn), outcomes)
    json.dumps(results, allow_nan=False)  # every number is a number
    return results


def candidate(results, method):
    return next(c for c in results["candidates"] if c["method"] == method)


def test_gains_are_recovered_with_their_sign():
    results = run({"pcgrad": {"price": 5.0, "sold": 5.0}, "rlw": {"price": -4.0, "sold": -4.0}})
    ours = candidate(results, "pcgrad")
    assert ours["tasks"]["price"]["gain_mean"] == pytest.approx(5.0, abs=0.5)
    assert ours["tasks"]["sold"]["gain_mean"] == pytest.approx(5.0, abs=0.5)
    assert ours["delta_m"]["mean"] == pytest.approx(5.0, abs=0.5)
    assert candidate(results, "rlw")["delta_m"]["mean"] == pytest.approx(-4.0, abs=0.5)
    assert results["chosen"] == ours["id"]
    assert {t: v["word"] for t, v in results["verdict"]["tasks"].items()} == {
        "price": "helps",
        "sold": "helps",
    }
    assert results["verdict"]["sentence"].startswith("Share: one network (with pcgrad")
    assert "pcgrad (" in results["verdict"]["sentence"]
    assert "beats tuned equal weights (linear) beyond noise" in results["verdict"]["sentence"]
    assert "rlw falls behind" in results["verdict"]["sentence"]
    assert results["complete"]
    assert results["missing"] == []


def test_delta_m_is_the_mean_over_tasks_and_its_interval_is_the_corrected_t():
    results = run({"pcgrad": {"price": 6.0, "sold": 2.0}}, redrawn=0.25)
    ours = candidate(results, "pcgrad")
    by_seed = [np.mean([ours["tasks"][t]["gain"][s] for t in TASKS]) for s in results["seeds"]]
    assert ours["delta_m"]["test"] == pytest.approx(by_seed)
    se = np.std(by_seed, ddof=1) * np.sqrt(1 / 5 + 0.25)
    half = stats.t.ppf(0.975, 4) * se
    assert ours["delta_m"]["high"] - ours["delta_m"]["mean"] == pytest.approx(half)
    plain = candidate(run({"pcgrad": {"price": 6.0, "sold": 2.0}}, redrawn=0.0), "pcgrad")
    narrow = plain["delta_m"]["high"] - plain["delta_m"]["mean"]
    assert narrow == pytest.approx(half * np.sqrt(0.2 / 0.45))


def test_holm_runs_over_the_tasks_of_a_candidate():
    results = run({"pcgrad": {"price": 0.3, "sold": 0.1}})
    entries = candidate(results, "pcgrad")["tasks"]
    p = [entries[t]["p"] for t in TASKS]
    smaller, larger = sorted(p)
    expected = {smaller: min(1, 2 * smaller), larger: max(min(1, 2 * smaller), larger)}
    assert [entries[t]["p_holm"] for t in TASKS] == pytest.approx([expected[v] for v in p])


def test_the_choice_is_made_on_validation_not_on_test():
    flatter = world({})

    def score(unit, task, part):
        name = unit.config.get("method", {}).get("name")
        better = {"rlw": "val", "pcgrad": "test"}.get(name) == part
        return flatter(unit, task, part) * (1 if not better else 0.9 if task == "price" else 1.1)

    results = run({}, score=score)
    assert candidate(results, "rlw")["id"] == results["chosen"]  # a baseline may be chosen
    assert candidate(results, "pcgrad")["delta_m"]["mean"] > 5


def test_no_gain_is_no_evidence_and_says_that_balancing_does_not_matter():
    results = run({})
    words = {v["word"] for v in results["verdict"]["tasks"].values()}
    assert words == {"no evidence"}
    sentence = results["verdict"]["sentence"]
    assert sentence.startswith("No evidence that sharing")
    assert "No way of balancing beats tuned equal weights (linear) beyond noise" in sentence


@pytest.mark.parametrize(
    ("gain", "start"),
    [
        ({"price": -5.0, "sold": -5.0}, "Keep separate networks"),
        ({"price": 5.0, "sold": -5.0}, "It depends on the task"),
    ],
)
def test_harm_is_said(gain, start):
    same = dict.fromkeys(("linear", "rlw", "pcgrad"), gain)
    assert run(same)["verdict"]["sentence"].startswith(start)


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_few_seeds_only_lean(seeds):
    results = run({"pcgrad": {"price": 5.0, "sold": 5.0}}, seeds=seeds)
    assert {v["word"] for v in results["verdict"]["tasks"].values()} == {"leans helps"}
    assert results["verdict"]["sentence"].startswith("Leans towards sharing")
    assert "leanings only" in results["verdict"]["confidence_note"]
    entry = candidate(results, "pcgrad")["tasks"]["price"]
    assert (entry["p"] is None) == (seeds == 1)
    if seeds == 1:
        said = results["verdict"]["tasks"]["price"]["sentence"]
        assert "one seed, which says nothing about noise" in said


def test_a_failed_seed_is_left_out_for_that_candidate_and_said():
    def hole(kind, task, seed):
        return RuntimeError("killed by SIGKILL") if (kind, seed) == ("pcgrad", 3) else None

    gain = {"pcgrad": {"price": 5.0, "sold": 5.0}}
    results = run(gain, score=world(gain, hole=hole))
    ours = candidate(results, "pcgrad")
    assert ours["delta_m"]["test"][3] is None
    assert sum(v is not None for v in ours["delta_m"]["test"]) == 4
    assert ours["failed"] == [{"seed": 3, "lr": 3e-3, "cause": "killed by SIGKILL"}]
    assert results["complete"]  # it ended, though not well
    assert any("pcgrad: seed 3 failed" in remark for remark in results["remarks"])
    # a candidate without all seeds is not chosen while others have them
    assert results["chosen"] != ours["id"]


def test_a_failed_single_task_seed_is_left_out_for_all():
    def hole(kind, task, seed):
        failed = (kind, task, seed) == ("single", "sold", 2)
        return RuntimeError("boom") if failed else None

    results = run({}, score=world({}, hole=hole))
    for each in results["candidates"]:
        assert each["delta_m"]["test"][2] is None
        assert each["tasks"]["sold"]["gain"][2] is None
        assert each["tasks"]["price"]["gain"][2] is not None


def test_an_undefined_metric_is_carried_and_left_out_of_delta_m():
    why = {"undefined": "one class only"}

    def hole(kind, task, seed):
        return why if (task, seed) == ("sold", 4) else None

    gain = {"pcgrad": {"price": 5.0, "sold": 1.0}}
    results = run(gain, score=world(gain, hole=hole))
    ours = candidate(results, "pcgrad")
    assert ours["tasks"]["sold"]["test"][4] == why
    assert ours["tasks"]["sold"]["gain"][4] is None
    assert ours["delta_m"]["test"] == pytest.approx(ours["tasks"]["price"]["gain"])
    assert "one class only" in ours["delta_m"]["left_out"]["sold"]
    assert any("sold is left out of Δm" in remark for remark in results["remarks"])


def test_a_metric_that_is_never_defined_gives_no_verdict_on_its_task():
    why = {"undefined": "one class only"}
    results = run(
        {}, score=world({}, hole=lambda kind, task, seed: why if task == "sold" else None)
    )
    verdicts = results["verdict"]["tasks"]
    assert verdicts["sold"]["word"] == "undefined"
    assert "one class only" in verdicts["sold"]["sentence"]
    assert candidate(results, "pcgrad")["tasks"]["sold"]["gain_mean"] == why
    assert candidate(results, "pcgrad")["mean_rank"] is not None


def test_an_undefined_task_is_not_one_without_harm():
    gain = {"price": 5.0, "sold": 0.0}
    gains = dict.fromkeys(("linear", "rlw", "pcgrad"), gain)
    said = run(gains)["verdict"]["sentence"]
    assert "helps price; no evidence of harm to the other 1 (Δm" in said
    why = {"undefined": "one class only"}
    holes = world(gains, hole=lambda kind, task, seed: why if task == "sold" else None)
    assert "helps price (Δm" in run(gains, score=holes)["verdict"]["sentence"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("leans hurts", "no evidence", "undefined"),
         "hurting a; no evidence of help or harm to the other 1 (Δm"),
        (("leans hurts", "undefined", "undefined"), "hurting a (Δm"),
        (("helps", "undefined", "no evidence"), "helps a; no evidence of harm to the other 1 (Δm"),
        (
            ("helps", "leans hurts", "no evidence"),
            "helps a; it leans towards hurting b; no evidence of harm to the other 1 (Δm",
        ),
    ],
)  # fmt: skip
def test_the_others_are_those_with_a_verdict(words, said):
    delta = {"mean": 1.0, "low": None, "high": None}
    chosen = {"name": "linear", "delta_m": delta}
    assert said in _sharing(dict(zip("abc", words, strict=True)), chosen)


def test_equal_time_is_analysed_like_the_rest():
    results = run({"pcgrad": {"price": 5.0, "sold": 5.0}})
    ours = candidate(results, "pcgrad")
    assert ours["equal_time"]["delta_m"] == ours["delta_m"]
    assert ours["equal_time"]["max_epoch"] == 20


def test_ranks_use_the_direction_of_each_metric():
    results = run({"pcgrad": {"price": 9.0, "sold": 9.0}, "rlw": {"price": -9.0, "sold": -9.0}})
    assert candidate(results, "pcgrad")["mean_rank"] == 1.0
    assert candidate(results, "rlw")["mean_rank"] == 3.0


@pytest.mark.parametrize("stop", [0, 3, 7, 15, 29])
def test_a_study_cut_short_says_what_is_missing(stop):
    plan = Plan(settings())
    outcomes, order = simulate(plan, world({}), stop=stop)
    results = analyse(plan, facts(plan), outcomes)
    json.dumps(results, allow_nan=False)
    assert len(order) == stop
    assert not results["complete"]
    assert results["missing"]
    assert results["verdict"]["sentence"]


def test_boosting_is_compared_with_both():
    gain = {"pcgrad": {"price": 3.0, "sold": 3.0}, "boosting": {"price": 9.0, "sold": -9.0}}
    results = run(gain, boosting=True)
    assert results["boosting"]["price"]["gain_mean"] == pytest.approx(9.0, abs=0.5)
    assert results["boosting"]["price"]["versus_chosen"]["mean"] == pytest.approx(6.0, abs=0.7)
    sentence = results["verdict"]["sentence"]
    assert "Gradient boosting per target beats both kinds of network on price" in sentence
    assert "loses to both on sold" in sentence


def test_tasks_in_any_order_and_units_of_any_size_give_the_same_gains():
    gain = {"pcgrad": {"price": 5.0, "sold": 1.0}}
    base = world(gain)
    swapped = {t: TASKS[t] for t in reversed(TASKS)}
    scaled = run(gain, score=lambda u, t, p: base(u, t, p) * (1000 if t == "price" else 1))
    for other in (run(gain, tasks=swapped), scaled):
        ours, theirs = candidate(run(gain), "pcgrad"), candidate(other, "pcgrad")
        assert ours["delta_m"]["mean"] == pytest.approx(theirs["delta_m"]["mean"])
        assert ours["tasks"]["price"]["p_holm"] == pytest.approx(theirs["tasks"]["price"]["p_holm"])


def test_only_main_tasks_count():
    tasks = {"price": TASKS["price"], "sold": dict(TASKS["sold"], role="auxiliary")}
    results = run({"pcgrad": {"price": 5.0, "sold": -50.0}}, tasks=tasks)
    ours = candidate(results, "pcgrad")
    assert ours["delta_m"]["test"] == pytest.approx(ours["tasks"]["price"]["gain"])
    assert results["chosen"] == ours["id"]


def test_the_constant_of_every_method_is_in_the_results():
    methods = (Choice("linear"), Choice("rlw"), Choice("pcgrad", {"heads": "plain"}))
    results = run({}, methods=methods)
    ours = candidate(results, "pcgrad")
    assert ours["label"] == "pcgrad (heads=plain)"
    assert ours["arguments"] == {"scale": "sum", "heads": "plain"}
    assert [c["baseline"] for c in results["candidates"]] == [True, True, False]


def test_an_auxiliary_task_trains_along_and_is_not_judged():
    helper = TASKS | {"sold": TASKS["sold"] | {"role": "auxiliary"}}
    gain = {"pcgrad": {"price": 5.0, "sold": -50.0}}
    results = run(gain, tasks=helper, boosting=True)
    alone = run(gain, tasks={"price": TASKS["price"]})
    assert results["chosen"] == "hard_sharing-pcgrad"
    ours = candidate(results, "pcgrad")
    assert ours["delta_m"]["mean"] == pytest.approx(ours["tasks"]["price"]["gain_mean"])
    assert ours["tasks"]["sold"]["gain_mean"] == pytest.approx(-50, abs=1)
    assert ours["tasks"]["sold"]["p_holm"] is None
    assert ours["tasks"]["price"]["p_holm"] == ours["tasks"]["price"]["p"]
    assert candidate(alone, "pcgrad")["tasks"]["price"]["p_holm"] == ours["tasks"]["price"]["p"]
    verdict = results["verdict"]
    assert verdict["tasks"]["sold"]["word"] == "auxiliary"
    assert verdict["tasks"]["price"]["word"] == "helps"
    assert verdict["sentence"].startswith("Share: one network")
    assert "the 1 separate network costs" in verdict["sentence"]
    assert "sold" not in verdict["sentence"]
    assert "sold is auxiliary: trained along, left out of Δm" in verdict["confidence_note"]
    assert list(results["boosting"]) == ["price"]


def test_many_tasks_are_counted_not_listed():
    many = {f"t{i}": TASKS["price"] for i in range(9)}

    def score(unit, task, part):
        shared = len(unit.config["tasks"]) > 1
        better = 0.1 if task in ("t0", "t1") else -0.1
        return 2.0 - (better + 0.001 * unit.config["seed"] if shared else 0.0)

    said = run({}, score=score, tasks=many)["verdict"]["sentence"]
    assert "helps t0 and t1 and hurts 7 of 9 tasks" in said


def test_one_seed_claims_nothing_about_intervals_or_other_seeds():
    verdict = run({}, redrawn=0.0, seeds=1)["verdict"]
    assert "One seed gives no interval." in verdict["confidence_note"]
    assert "same for all seeds" not in verdict["confidence_note"]
    assert "every seed" not in verdict["sentence"]


def test_networks_that_learned_nothing_are_said():
    def score(unit, task, part):
        # Worse than a constant on price, better on sold; the shared network a little better.
        better = 0.001 * unit.config["seed"] + (0.02 if len(unit.config["tasks"]) > 1 else 0.0)
        return 3.2 - better if task == "price" else 0.8 + better

    said = [r for r in run({}, score=score)["remarks"] if "nothing was learned" in r]
    assert len(said) == 1
    assert said[0].startswith("On price neither")
    assert not any("nothing was learned" in r for r in run({})["remarks"])
