"""The plan: which runs there are, what they are called, when they start, what is reused."""

import json

import pytest
from study_simulation import TASKS, settings, simulate

from polytask.errors import UserError
from polytask.study.plan import Plan, Unit, slug
from polytask.study.settings import (
    Choice,
    check_select,
    check_trainer_options,
    choose_architectures,
    choose_methods,
    rates,
)


def flat(unit, task, part):
    """The same score for everybody, best at the larger rate."""
    base = 2.0 if TASKS[task]["direction"] == "min" else 0.7
    return base * (0.9 if unit.config.get("lr") == 3e-3 and base > 1 else 1.0)


def test_every_run_happens_once_and_the_search_is_reused():
    plan = Plan(settings())
    outcomes, order = simulate(plan, flat)
    assert len(order) == len(set(order)) == plan.total == 5 * (2 + 4)
    assert "single-price-lr0.001-s0" in order
    assert "hard_sharing-pcgrad-lr0.003-s4" in order
    # seed 0 at the chosen rate is one of the search
    assert (
        sum(name.startswith("hard_sharing-pcgrad") and name.endswith("s0") for name in order) == 2
    )
    assert plan.startable(outcomes) == []


def test_single_task_searches_come_first_and_set_the_reference():
    plan = Plan(settings())
    outcomes, order = simulate(plan, flat)
    first_shared = next(i for i, name in enumerate(order) if name.startswith("hard"))
    searched = [i for i, n in enumerate(order) if n.startswith("single") and n.endswith("-s0")]
    assert max(searched) < first_shared
    assert plan.reference(outcomes) == {"price": 1.8, "sold": 0.7}
    unit = plan.unit(plan.candidates[0], 1e-3, 0, outcomes)
    assert unit.config["reference"] == {"price": 1.8, "sold": 0.7}


def test_seeds_go_in_step():
    _, order = simulate(Plan(settings()), flat)
    seeds = [int(name.rsplit("-s", 1)[1]) for name in order]
    after_search = seeds[seeds.index(1) :]
    assert after_search == sorted(after_search)


def test_nothing_that_shares_starts_before_the_costs_are_known():
    plan = Plan(settings())
    ready = plan.startable({})
    assert {unit.id.split("-")[0] for unit in ready} == {"single"}


def test_equal_time_is_fixed_by_the_probe_before_the_runs():
    plan = Plan(settings(epochs=20))
    cost = {"probe-hard_sharing-linear": 0.01, "probe-hard_sharing-pcgrad": 0.03}
    outcomes, _ = simulate(plan, flat, cost=lambda unit: cost.get(unit.id, 0.002))
    by_name = {c.method.name: c for c in plan.candidates}
    assert plan.relative_cost(by_name["pcgrad"], outcomes) == pytest.approx(3.0)
    assert plan.equal_time(by_name["pcgrad"], outcomes) == 6  # floor(20 / 3)
    assert plan.equal_time(by_name["rlw"], outcomes) == 20  # cheaper: no more than all epochs
    unit = plan.unit(by_name["pcgrad"], 1e-3, 0, outcomes)
    assert unit.config["equal_time"] == 6
    # Steps of equal weights timed in turn with the contender's own say it better.
    probe = plan.probe(by_name["pcgrad"]).hash
    outcomes[probe] = {**outcomes[probe], "reference_seconds": 0.015}
    assert plan.relative_cost(by_name["pcgrad"], outcomes) == pytest.approx(2.0)
    expensive = Plan(settings(epochs=2))
    outcomes, _ = simulate(expensive, flat, cost=lambda unit: cost.get(unit.id, 0.002))
    assert expensive.equal_time(expensive.candidates[2], outcomes) == 1


def test_the_rate_is_chosen_on_validation_by_the_gain():
    def score(unit, task, part):
        # pcgrad: 0.003 is better on validation and worse on test
        if unit.config["method"]["name"] == "pcgrad" and part == "val":
            return {"price": 2.0, "sold": 0.7}[task] * (
                1.1 if (unit.config["lr"] == 3e-3) == (task == "sold") else 1.0
            )
        return flat(unit, task, part)

    plan = Plan(settings())
    outcomes, _ = simulate(plan, score)
    assert plan.chosen_lr(plan.candidates[2], outcomes) == 3e-3
    # all rates alike: the smaller one
    plan = Plan(settings())
    outcomes, _ = simulate(plan, lambda u, t, p: 1.0)
    assert plan.chosen_lr(plan.candidates[2], outcomes) == 1e-3


def test_a_failed_rate_is_passed_over_and_a_dead_network_has_no_further_runs():
    def score(unit, task, part):
        if unit.config["method"]["name"] == "pcgrad":
            raise RuntimeError("it diverged")
        if unit.config["lr"] == 3e-3:
            raise RuntimeError("too fast")
        return flat(unit, task, part)

    plan = Plan(settings())
    outcomes, order = simulate(plan, score)
    assert plan.chosen_lr(plan.candidates[0], outcomes) == 1e-3
    assert plan.chosen_lr(plan.candidates[2], outcomes) is None
    assert sum("pcgrad" in name for name in order) == 2


def test_one_rate_needs_no_search():
    plan = Plan(settings(lr=(1e-3,), seeds=3))
    _, order = simulate(plan, flat)
    assert len(order) == plan.total == 5 * 3


def test_the_hash_covers_what_decides_the_numbers_and_nothing_else():
    plan, again = Plan(settings()), Plan(settings(seeds=3, methods=(Choice("linear"),)))
    outcomes, _ = simulate(plan, flat)
    ours = plan.unit(plan.singles[0], 1e-3, 0, outcomes)
    theirs = again.unit(again.singles[0], 1e-3, 0, outcomes)
    assert ours.hash == theirs.hash
    assert len({u.hash for u in [*plan.probes(), ours]}) == len(plan.probes()) + 1
    for change in ({"epochs": 21}, {"fingerprint": "beef"}, {"trainer": {"clip_norm": 1.0}}):
        other = Plan(settings(**change))
        assert other.unit(other.singles[0], 1e-3, 0, {}).hash != ours.hash
    assert json.loads(json.dumps(ours.to_dict())) == ours.to_dict()


def test_select_decides_the_rule_of_every_run():
    plan = Plan(settings(select="main:sold"))
    outcomes, _ = simulate(plan, flat)
    assert plan.unit(plan.singles[0], 1e-3, 0, outcomes).config["select"] == "main:price"
    shared = plan.unit(plan.candidates[0], 1e-3, 0, outcomes).config
    assert (shared["select"], shared["reference"]) == ("main:sold", None)
    assert plan.settings.counted == ("sold",)


@pytest.mark.parametrize("select", ["mean_gain", "mean_rank", "loss"])
def test_rates_are_compared_alike_whichever_runs_end_first(select):
    """Gains of a sold task of a hundredth of the price's scores outweigh it only in their units."""

    def score(unit, task, part):
        better = {"price": 1e-3, "sold": 3e-3}[task]
        scale = {"price": 100.0, "sold": 1.0}[task]
        step = {"price": 0.01, "sold": 0.05}[task] if unit.config["lr"] == better else 0.0
        return scale * (1 - step if TASKS[task]["direction"] == "min" else 1 + step)

    def tasks(unit):
        return len(unit.config["tasks"])

    chosen = set()
    for take in (lambda ready: min(ready, key=tasks), lambda ready: max(ready, key=tasks)):
        plan = Plan(settings(select=select))
        outcomes, _ = simulate(plan, score, take=take)
        chosen.add(plan.chosen_lr(plan.candidates[0], outcomes))
    assert chosen == {3e-3}


def test_auxiliary_tasks_do_not_count():
    tasks = {"price": TASKS["price"], "sold": dict(TASKS["sold"], role="auxiliary")}
    assert settings(tasks=tasks).counted == ("price",)


def test_names_that_are_no_folder_names_stay_apart():
    assert slug("price") == "price"
    assert slug("a/b") != slug("a b")
    assert "/" not in slug("../../etc")
    assert not slug("..").startswith(".")
    assert len(slug("x" * 300)) < 60


def test_methods_with_arguments_have_their_own_names():
    plan = Plan(
        settings(methods=(Choice("linear"), Choice("rlw"), Choice("pcgrad", {"heads": "plain"})))
    )
    assert [c.id for c in plan.candidates][2] == "hard_sharing-pcgrad-headsplain"
    assert plan.probe(plan.candidates[2]).config["method"]["arguments"] == {
        "scale": "sum",
        "heads": "plain",
    }


def test_the_statistic_goes_to_methods_that_read_gradients():
    s = settings(statistic="features")
    assert s.method(Choice("pcgrad"))["arguments"] == {"scale": "sum", "statistic": "features"}
    assert s.method(Choice("linear"))["arguments"] == {"scale": "sum"}


def test_boosting_is_per_target_and_seed():
    plan = Plan(settings(boosting=True, seeds=2))
    assert [u.id for u in plan.boosting()] == [
        "boosting-price-s0", "boosting-sold-s0", "boosting-price-s1", "boosting-sold-s1",
    ]  # fmt: skip


def test_words_are_checked_with_a_suggestion():
    assert choose_methods(["mgda", {"pcgrad": {"heads": "plain"}}])[:2] == (
        Choice("linear"),
        Choice("rlw"),
    )
    weighted = {"linear": {"weights": {"price": 2.0}}}  # not equal weights: one more candidate
    assert [c.label for c in choose_methods([weighted])] == [
        "linear",
        "rlw",
        "linear (weights={price: 2.0})",
    ]
    assert choose_methods("linear") == (Choice("linear"), Choice("rlw"))
    with pytest.raises(UserError, match="did you mean 'pcgrad'"):
        choose_methods(["pcgrd"])
    with pytest.raises(UserError, match="did you mean 'heads'"):
        choose_methods([{"pcgrad": {"head": "plain"}}])
    with pytest.raises(UserError, match="yardstick"):
        choose_architectures(["single_task"])
    with pytest.raises(UserError, match="did you mean 'clip_norm'"):
        check_trainer_options({"clipnorm": 1.0})
    with pytest.raises(UserError, match="plain value"):
        check_trainer_options({"optimizer": print})
    with pytest.raises(UserError, match="above 0"):
        rates([0.0])
    with pytest.raises(UserError, match="did you mean 'price'"):
        check_select("main:pric", ["price"])
    assert rates([3e-3, 1e-3, 1e-3]) == (1e-3, 3e-3)


def test_unit_is_plain_json():
    unit = Unit("a", {"kind": "train", "seed": 0}, "f")
    assert unit.to_dict() == {
        "id": "a", "hash": unit.hash, "config": {"kind": "train", "seed": 0}, "data": "f",
        "how": {}, "plugins": [],
    }  # fmt: skip
