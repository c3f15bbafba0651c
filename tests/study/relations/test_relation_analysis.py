"""From outcomes to results: a case worked by hand, the words, the remarks, agreement."""

import json

import numpy as np
import pytest
from relation_simulation import GIVEN, facts, planned, simulate, table
from scipy import stats

from polytask.relationships import Affinity, group_tasks
from polytask.study.relations.agreement import agreement, spearman, worth
from polytask.study.relations.analysis import analyse
from polytask.study.relations.arrangements import _branched
from polytask.study.relations.remarks import stands_out
from polytask.study.relations.verdict import verdict

BY_HAND = {
    "recommended": 25 / 3,
    "all_in_one": 1.0,
    "alone": 0.0,
    "random": (5.0 + 0.0 - 10 / 3) / 3,
}


def noisy(unit, task, part):
    """The table with noise that belongs to seed, network and task."""
    draw = np.random.default_rng([unit.config["seed"], *map(ord, "".join(unit.config["tasks"]))])
    size = 0.002 if task != "c" else 0.01
    return table(unit, task, part) + size * draw.normal() * (1 if task != "a" else 2)


@pytest.fixture(scope="module")
def results():
    plan = planned("pairwise")
    outcomes, _ = simulate(plan)
    found = analyse(plan, facts(plan), outcomes)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_the_recommendation_and_what_each_task_is_to_gain(results):
    assert (results["kind"], results["schema"], results["complete"]) == ("relate", 1, True)
    assert results["alone"] == 0.0
    found = results["recommendation"]
    assert found["estimator"] == "pairwise"
    assert [group["tasks"] for group in found["groups"]] == [["a", "b"], ["a", "c"]]
    # The task that both groups hold is served by one of them.
    assert [group["serves"] for group in found["groups"]] == [["a", "b"], ["c"]]
    assert found["groups"][0]["predicted"] == pytest.approx({"a": 10.0, "b": 5.0})
    assert found["groups"][1]["predicted"] == pytest.approx({"c": 10.0})
    (entry,) = results["estimators"]
    assert entry["grouping_worth"] == pytest.approx(25 / 3)
    assert entry["agreement"] is None
    assert entry["affinity"]["values"][0] == pytest.approx([0.0, 10.0, -10.0])
    assert entry["decides"]


def test_the_check_by_hand(results):
    arrangements = {entry["id"]: entry for entry in results["check"]["arrangements"]}
    assert list(arrangements) == [
        "recommended", "all_in_one", "alone", "random_1", "random_2", "random_3",
    ]  # fmt: skip
    for which in ("recommended", "all_in_one", "alone"):
        assert arrangements[which]["delta_m"]["mean"] == pytest.approx(BY_HAND[which])
    randoms = [entry["delta_m"]["mean"] for key, entry in arrangements.items() if "random" in key]
    assert sorted(randoms) == pytest.approx([-10 / 3, 0.0, 5.0])
    gained = {t: e["gain_mean"] for t, e in arrangements["recommended"]["tasks"].items()}
    assert gained == pytest.approx({"a": 10.0, "b": 5.0, "c": 10.0})
    assert arrangements["recommended"]["tasks"]["c"]["test_mean"] == pytest.approx(1.8)
    assert all(e["word"] == "helps" for e in arrangements["recommended"]["tasks"].values())
    assert all(e["gain"] == [0.0] * 5 for e in arrangements["alone"]["tasks"].values())
    assert arrangements["recommended"]["lr"] == [3e-3, 3e-3]


def test_costs_of_arrangements(results):
    found = {e["id"]: (e["networks"], e["parameters"]) for e in results["check"]["arrangements"]}
    assert found["recommended"] == (2, 20)
    assert found["alone"] == (3, 30)
    steps = {e["id"]: e["step"] for e in results["check"]["arrangements"]}
    # 0.01 s a task: four task-places in two networks, against three in one.
    assert steps["all_in_one"] == 1.0
    assert steps["recommended"] == pytest.approx(4 / 3)
    # 30 runs of pairwise training, 12 more of the search, none twice.
    cost = results["cost"]
    assert (cost["measure"]["runs"], cost["check"]["runs"], cost["planned"]) == (30, 12, 42)
    (entry,) = results["estimators"]
    assert entry["cost"] == {"runs": 30, "seconds": 60.0, "trainings": 30.0}


def test_the_recommendation_against_the_others(results):
    contrasts = {entry["theirs"]: entry for entry in results["check"]["contrasts"]}
    assert list(contrasts) == ["all_in_one", "alone", "random"]
    for which, entry in contrasts.items():
        assert entry["mean"] == pytest.approx(25 / 3 - BY_HAND[which])
        assert entry["word"] == "helps"
        assert len(entry["differences"]) == 5
    sentence = results["verdict"]["sentence"]
    assert sentence.startswith("Train 2 networks: a + b; c helped by a (by pairwise). On test it ")
    assert "it beats all in one network (+7.3 % [+7.3, +7.3])" in sentence
    assert set(results["verdict"]["contrasts"]) == set(contrasts)
    assert results["remarks"] == []


def test_few_seeds_lean(results):
    plan = planned("pairwise", seeds=2)
    outcomes, _ = simulate(plan, noisy)
    found = analyse(plan, facts(plan), outcomes)
    words = {entry["theirs"]: entry["word"] for entry in found["check"]["contrasts"]}
    assert set(words.values()) == {"leans helps"}
    assert "it leans towards beating all in one network" in found["verdict"]["sentence"]
    assert "leanings only" in found["verdict"]["confidence_note"]


def test_noise_is_no_evidence():
    def same(unit, task, part):
        alone = {"a": 0.5, "b": 0.4, "c": 2.0}[task]
        return alone * (1 + 0.1 * (noisy(unit, task, part) / table(unit, task, part) - 1))

    plan = planned("pairwise")
    outcomes, _ = simulate(plan, same)
    found = analyse(plan, facts(plan), outcomes)
    assert all(entry["word"] == "no evidence" for entry in found["check"]["contrasts"])
    assert "it is not told from" in found["verdict"]["sentence"]


def test_what_is_the_same_is_said_and_not_counted_twice():
    friends = {t: dict.fromkeys(set("abc") - {t}, 1.0) for t in "abc"}
    plan = planned(given=friends)
    outcomes, order = simulate(plan)
    assert len(order) == 4 * 6
    found = analyse(plan, facts(plan), outcomes)
    assert [entry["theirs"] for entry in found["check"]["contrasts"]] == ["alone"]
    assert found["verdict"]["sentence"].startswith(
        "Train all 3 tasks in one network (by the given affinities)."
    )
    said = " ".join(found["remarks"])
    assert "to train all tasks in one network, so that is trained once" in said
    assert "There is no other way to divide 3 tasks among 1 network, so no random" in said
    enemies = {t: dict.fromkeys(set("abc") - {t}, -1.0) for t in "abc"}
    plan = planned(given=enemies, alone=0.0, max_groups=3)
    outcomes, _ = simulate(plan)
    found = analyse(plan, facts(plan), outcomes)
    assert [entry["theirs"] for entry in found["check"]["contrasts"]] == ["all_in_one"]
    assert found["verdict"]["sentence"].startswith("Train each of the 3 tasks alone")


def test_without_a_check_it_is_a_prediction():
    plan = planned("pairwise", check=False)
    outcomes, order = simulate(plan)
    assert len(order) == 30
    found = analyse(plan, facts(plan), outcomes)
    assert found["check"] is None
    assert "nothing was trained to check it" in found["verdict"]["sentence"]
    assert found["complete"]


def test_a_study_that_is_not_finished():
    plan = planned("pairwise")
    outcomes, _ = simulate(plan, stop=5)
    found = analyse(plan, facts(plan), outcomes)
    assert not found["complete"]
    assert found["recommendation"] == {"undefined": "its runs have not ended"}
    assert found["verdict"]["sentence"].startswith("No groups are recommended")
    assert any(text.startswith("measuring: ") for text in found["missing"])
    assert any("which are not known before" in text for text in found["missing"])
    assert any("learning-rate search" in text for text in found["missing"])
    # Half of the seeds: all that is there is shown, what waits is named.
    plan = planned(given=GIVEN, alone=0.0)
    outcomes, _ = simulate(plan, stop=30)
    found = analyse(plan, facts(plan), outcomes)
    assert any("seeds" in text for text in found["missing"])
    assert found["check"]["arrangements"][0]["delta_m"]["values"][0] is not None


def test_a_failed_seed_is_left_out_and_named():
    plan = planned(given=GIVEN, alone=0.0)
    outcomes, _ = simulate(
        plan, fails=lambda u: u.config["tasks"] == ["a", "c"] and u.config["seed"] == 3
    )
    found = analyse(plan, facts(plan), outcomes)
    assert found["complete"]
    ours = found["check"]["arrangements"][0]
    assert ours["delta_m"]["values"][3] is None
    # Its other network is there: its tasks keep that seed.
    assert ours["tasks"]["b"]["gain"][3] == pytest.approx(5.0)
    assert ours["tasks"]["c"]["gain"][3] is None
    assert ours["failed"] == [
        {"tasks": ["a", "c"], "seed": 3, "lr": 3e-3, "cause": "out of memory"}
    ]
    assert "a + c: seed 3 failed and is left out." in found["remarks"]
    contrasts = {entry["theirs"]: entry for entry in found["check"]["contrasts"]}
    assert len(contrasts["all_in_one"]["differences"]) == 4


def test_an_estimator_that_failed_leaves_all_in_one_and_alone():
    plan = planned("gradient_cosine")
    outcomes, _ = simulate(plan, fails=lambda unit: unit.id.startswith("together"))
    found = analyse(plan, facts(plan), outcomes)
    assert found["complete"]
    assert "out of memory" in found["recommendation"]["undefined"]
    assert [e["id"] for e in found["check"]["arrangements"]] == ["all_in_one", "alone"]
    assert found["check"]["contrasts"] == []
    assert any("gradient_cosine has no affinities" in text for text in found["remarks"])


def test_unknown_pairs_and_noise_are_remarked():
    plan = planned(given={"a": {"b": 1}, "b": {"a": 1}, "c": {"b": 2}}, check=False)
    found = analyse(plan, facts(plan), {})
    assert any("3 of 6 affinities are not known (given)" in text for text in found["remarks"])
    plan = planned("pairwise", check=False)

    def nothing_but_noise(unit, task, part):
        return 0.5 + noisy(unit, task, part) - table(unit, task, part)

    outcomes, _ = simulate(plan, nothing_but_noise)
    found = analyse(plan, facts(plan), outcomes)
    assert any("do not stand out from noise" in text for text in found["remarks"])
    errors = [[0, 1, 1], [1, 0, np.nan], [0.1, 1, 0]]
    assert stands_out(Affinity(tuple("abc"), [[0, 3, -3], [1, 0, 9], [1, 0, 0]], errors)) == (3, 5)


def test_spearman_against_scipy():
    draw = np.random.default_rng(1)
    one, other = draw.normal(size=20).round(1), draw.normal(size=20).round(1)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)
    assert spearman(one, one) == pytest.approx(1.0)
    assert spearman(one[:2], other[:2]) is None
    assert spearman(np.ones(5), other[:5]) is None


def affinity(values):
    return Affinity([f"t{k}" for k in range(len(values))], values)


def test_agreement_looks_at_what_both_know_off_the_diagonal():
    draw = np.random.default_rng(2)
    gold = draw.normal(size=(6, 6))
    ours = gold + 0.3 * draw.normal(size=(6, 6))
    ours[0, 1] = np.nan
    np.fill_diagonal(ours, 99.0)
    found = agreement(affinity(ours), affinity(gold))
    known = ~np.eye(6, dtype=bool)
    known[0, 1] = False
    assert found["pairs"] == 29
    expected = stats.spearmanr(ours[known], gold[known]).statistic
    assert found["spearman"] == pytest.approx(expected)
    assert found["low"] < expected <= found["high"] <= 1
    assert agreement(affinity(ours), affinity(gold)) == found
    # Tasks are redrawn, not entries: of few tasks little is known.
    few = agreement(affinity(ours[:3, :3]), affinity(gold[:3, :3]))
    assert few["low"] is None or few["high"] - few["low"] > found["high"] - found["low"]
    assert "undefined" in agreement(affinity(np.ones((2, 2))), affinity(np.eye(2)))
    assert agreement(affinity(np.ones((4, 4))), affinity(gold[:4, :4])) == {
        "undefined": "all entries tie"
    }


def test_worth_of_groups_by_pairs():
    gold = Affinity.from_mapping(GIVEN)
    assert worth(group_tasks(GIVEN, 2, alone=0.0), gold) == pytest.approx(25 / 3)
    assert worth(group_tasks(GIVEN, 1), gold) == pytest.approx((0 + 2.5 + 0) / 3)
    every = {t: dict.fromkeys(set("abc") - {t}, -1) for t in "abc"}
    assert worth(group_tasks(every, 3, alone=0.0), gold) == 0.0
    lost = {**GIVEN, "a": {"b": 10}}
    assert worth(group_tasks(GIVEN, 1), Affinity.from_mapping(lost)) is None


def test_a_task_that_nobody_learned():
    plan = planned(given=GIVEN, alone=0.0)
    outcomes, _ = simulate(plan)
    known = facts(plan)
    known["tasks"]["b"]["trivial"] = 0.9
    found = analyse(plan, known, outcomes)
    assert found["remarks"][0].startswith("On b no network beat the best constant")


def test_a_tree_that_cannot_be_told_is_remarked():
    plan = planned(given=GIVEN, branches="given", check=False)
    found = analyse(plan, facts(plan), {})
    assert found["complete"]
    assert found["branches"]["of"] == "given"
    assert "does not tell how alike tasks are by depth" in found["branches"]["undefined"]
    assert any(text.startswith("No tree of branches was found") for text in found["remarks"])


def cosines(truth, steps=60):
    """What a recorder of gradients with these cosines tells, and noise."""
    upper = np.triu_indices(3)
    draw = np.random.default_rng(0)
    rows = [(np.array(truth) + 0.02 * draw.normal(size=(3, 3)))[upper] for _ in range(steps)]
    return {
        "tasks": ["a", "b", "c"],
        "statistic": "tail",
        "products": [row.tolist() for row in rows],
        "norms": [[1.0] * 3] * steps,
        "skipped": {},
    }


def test_estimators_beside_pairwise_training():
    plan = planned("gradient_cosine", "pairwise", check=False)
    recorded = plan.together().hash
    truth = [[1, 0.3, -0.3], [0.3, 1, -0.1], [-0.3, -0.1, 1]]
    outcomes = {recorded: {"kind": "train", "seconds": 3.0, "conflict": cosines(truth)}}
    outcomes, _ = simulate(plan, outcomes=outcomes)
    found = analyse(plan, facts(plan), outcomes)
    cosine, gold = found["estimators"]
    assert (cosine["decides"], gold["decides"]) == (True, False)
    assert found["recommendation"]["estimator"] == "gradient_cosine"
    assert cosine["grouping"]["groups"] == [["a", "b"], ["c"]]
    # a with b +10, b with a +5, c alone 0.
    assert cosine["grouping_worth"] == pytest.approx(5.0)
    assert gold["grouping_worth"] == pytest.approx(25 / 3)
    off = ~np.eye(3, dtype=bool)
    ours, theirs = (np.array(e["affinity"]["values"])[off] for e in (cosine, gold))
    assert ours == pytest.approx([0.3, -0.3, 0.3, -0.1, -0.3, -0.1], abs=0.02)
    assert theirs == pytest.approx([10, -10, 5, 0, 10, -10])
    assert cosine["agreement"]["spearman"] == pytest.approx(stats.spearmanr(ours, theirs).statistic)
    assert cosine["agreement"]["pairs"] == 6
    assert gold["agreement"] is None
    # Runs beyond the training of all tasks.
    assert (cosine["cost"]["runs"], gold["cost"]["runs"]) == (0, 30)
    assert cosine["cost"]["trainings"] == 1.0
    assert gold["cost"]["trainings"] == pytest.approx(30 * 2.0 / 3.0)
    assert any("ranks pairs as training them in pairs does is not shown" in t
               for t in found["remarks"])  # fmt: skip


def test_one_network_with_branches_is_a_question_of_its_own():
    def entry(which, values):
        return {"id": which, "delta_m": {"values": values}}

    found = [entry("all_in_one", [0.0, 0.1, -0.1, 0.0, 0.05]), entry("alone", [0.0] * 5)]
    assert _branched(found, 0.0) == []
    ours = [2.0, 2.2, 1.9, 2.1, 2.0]
    entries = _branched([*found, entry("branched", ours)], 0.0)
    assert [(e["ours"], e["theirs"]) for e in entries] == [
        ("branched", "all_in_one"), ("branched", "alone"),
    ]  # fmt: skip
    for one, other in zip(entries, found, strict=True):
        differences = np.subtract(ours, other["delta_m"]["values"])
        assert one["differences"] == pytest.approx(differences)
        assert one["mean"] == pytest.approx(differences.mean())
        p = stats.ttest_1samp(differences, 0.0).pvalue
        assert one["p"] == pytest.approx(p)
        assert p <= one["p_holm"] <= 2 * p + 1e-12
        assert one["word"] == "helps"
    said = analyse(planned(given=GIVEN), facts(planned(given=GIVEN)), {})
    assert said["check"]["branched"] == []
    told = verdict(said | {"check": said["check"] | {"branched": entries}})
    assert told["branched"]["alone"].startswith(
        "The branched network beats every task alone (+2.0 %"
    )
    assert "One network with branches beats all in one network (+2.0 %" in told["sentence"]
