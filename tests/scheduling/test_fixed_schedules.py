"""Schedules that follow the sizes, the epoch or an order: golden numbers and properties."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from polytask.errors import UserError
from polytask.optimization.scheduling import Schedule, create_schedule, list_schedules
from polytask.optimization.scheduling._weights import batches_of_epoch, normalised

SIZES = {"a": 10000, "b": 1000, "c": 100}
TASKS = ("a", "b", "c")
GOLDEN = {
    1.0: (0.900901, 0.090090, 0.009009),
    0.75: (0.826822, 0.147032, 0.026146),
    0.5: (0.706101, 0.223289, 0.070610),
    0.0: (1 / 3, 1 / 3, 1 / 3),
}


def p(schedule: Schedule, epoch: int = 1, epochs: int | None = 5) -> list[float]:
    return schedule.probabilities(TASKS, SIZES, epoch, epochs).tolist()


@pytest.mark.parametrize(("alpha", "golden"), GOLDEN.items())
def test_temperature(alpha: float, golden: tuple[float, ...]) -> None:
    assert p(create_schedule("temperature", alpha=alpha)) == pytest.approx(golden, abs=5e-7)
    if alpha:
        schedule = create_schedule("temperature", temperature=1 / alpha)
        assert p(schedule) == pytest.approx(golden, abs=5e-7)


def test_ends_of_temperature_and_its_default() -> None:
    assert p(create_schedule("temperature", alpha=1)) == p(create_schedule("proportional"))
    assert p(create_schedule("temperature", alpha=0)) == p(create_schedule("uniform"))
    assert p(create_schedule("temperature")) == pytest.approx(GOLDEN[0.75], abs=5e-7)


def test_annealed_is_proportional_first_and_alpha_a_fifth_last() -> None:
    schedule = create_schedule("annealed")
    assert p(schedule, 1, 10) == p(create_schedule("proportional"))
    assert p(schedule, 10, 10) == p(create_schedule("temperature", alpha=0.2))
    assert p(schedule, 11, 10) == p(schedule, 10, 10)
    for epoch in range(1, 11):
        alpha = 1 - 0.8 * (epoch - 1) / 9
        expected = p(create_schedule("temperature", alpha=alpha))
        assert p(schedule, epoch, 10) == pytest.approx(expected, rel=1e-12)
    assert p(schedule, 1, 1) == p(create_schedule("proportional"))
    with pytest.raises(UserError, match="how many"):
        p(schedule, 1, None)


def test_capped() -> None:
    # min(N, 500) = 500, 500, 100
    golden = (5 / 11, 5 / 11, 1 / 11)
    assert p(create_schedule("capped", limit=500)) == pytest.approx(golden)
    root = [math.sqrt(n) for n in (500, 500, 100)]
    schedule = create_schedule("capped", limit=500, temperature=2.0)
    assert p(schedule) == pytest.approx([x / sum(root) for x in root])
    assert p(create_schedule("capped")) == pytest.approx(p(create_schedule("proportional")))


def test_round_robin_goes_on_in_the_next_epoch() -> None:
    schedule = create_schedule("round_robin")
    batches = {"a": 5, "b": 5, "c": 5}
    first = schedule.order(TASKS, batches, 4, 1, 0)
    second = schedule.order(TASKS, batches, 4, 2, 0)
    assert (first + second) == [0, 1, 2, 0, 1, 2, 0, 1]
    turns = create_schedule("round_robin", turns={"b": 2})
    assert turns.order(TASKS, batches, 8, 1, 0) == [0, 1, 1, 2, 0, 1, 1, 2]
    assert p(turns) == pytest.approx([0.25, 0.5, 0.25])
    with pytest.raises(UserError, match="'bb'; did you mean 'b'"):
        create_schedule("round_robin", turns={"bb": 2}).order(TASKS, batches, 4, 1, 0)


def test_union_and_blocks_have_exact_counts() -> None:
    batches = {"a": 40, "b": 4, "c": 1}
    for name in ("shuffled_union", "blocked"):
        order = create_schedule(name).order(TASKS, batches, 45, 1, 0)
        assert Counter(order) == {0: 40, 1: 4, 2: 1}
    assert order == sorted(order)  # the last one: blocks
    union = create_schedule("mt_dnn")
    orders = [
        union.order(TASKS, batches, 45, epoch, seed) for epoch, seed in ((1, 0), (2, 0), (1, 1))
    ]
    assert len({tuple(order) for order in orders}) == 3


def test_short_epochs_of_union_and_blocks_leave_no_task_out() -> None:
    batches = {"a": 40, "b": 4, "c": 1}
    for name in ("shuffled_union", "blocked"):
        schedule = create_schedule(name)
        orders = [schedule.order(TASKS, batches, 9, epoch, 0) for epoch in range(1, 11)]
        counts = [Counter(order) for order in orders]
        assert (
            sum(counts[:5], Counter()) == sum(counts[5:], Counter()) == Counter({0: 40, 1: 4, 2: 1})
        )
        assert sum(2 in order for order in orders) == 2
        long = [Counter(schedule.order(TASKS, batches, 60, epoch, 0)) for epoch in range(1, 4)]
        assert sum(long, Counter()) == Counter({0: 160, 1: 16, 2: 4})


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=8),
    st.integers(1, 5000),
    st.integers(1, 50),
)
def test_batches_of_epochs_add_up_and_are_next_to_the_exact_ones(
    batches: list[int], steps: int, epochs: int
) -> None:
    found = [batches_of_epoch(batches, steps, epoch) for epoch in range(1, epochs + 1)]
    assert all(sum(counts) == steps and min(counts) >= 0 for counts in found)
    for own, count in zip(zip(*found, strict=True), batches, strict=True):
        share = count / sum(batches)
        # Half a batch by rounding, and half of one for every task that is rounded beside it.
        most = 0.5 + share * len(batches) / 2 + 1e-6
        assert abs(sum(own) - share * steps * epochs) <= most


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=8), st.floats(0, 1))
def test_a_power_keeps_the_order_of_sizes(sizes: list[int], alpha: float) -> None:
    tasks = [str(i) for i in range(len(sizes))]
    named = dict(zip(tasks, sizes, strict=True))
    found = create_schedule("temperature", alpha=alpha).probabilities(tasks, named)
    assert float(found.sum()) == pytest.approx(1)
    one, two = np.argmax(sizes), np.argmin(sizes)
    # Never steeper than proportional, never the other way round.
    assert found[two] - 1e-12 <= found[one] <= found[two] * sizes[one] / sizes[two] * (1 + 1e-9)


@pytest.mark.parametrize("name", ["uniform", "proportional", "temperature", "annealed"])
def test_draws_follow_the_probabilities(name: str) -> None:
    expected = np.asarray(p(create_schedule(name)))
    draws = np.searchsorted(np.cumsum(expected), np.random.default_rng(0).random(20000))
    assert chisquare(np.bincount(draws, minlength=3), expected * 20000).pvalue > 1e-3


def test_curriculum_by_order() -> None:
    schedule = create_schedule("curriculum", order=["c", "a"])
    assert p(schedule, 1, 4) == [0, 0.5, 0.5]  # b has no stage: it is always there
    assert p(schedule, 2, 4) == [0, 0.5, 0.5]
    assert p(schedule, 3, 4) == pytest.approx([1 / 3] * 3)
    alone = create_schedule("curriculum", order=["c", "b", "a"], keep=False)
    assert [p(alone, epoch, 3).index(1.0) for epoch in (1, 2, 3)] == [2, 1, 0]
    # Its stage's task is paused: the others go on.
    assert alone.probabilities(("a", "b"), SIZES, 1, 3).tolist() == [0.5, 0.5]


def test_curriculum_by_formulas() -> None:
    weights = {"a": "size ** 0.5", "b": "0 if epoch < 3 else 50", "c": "min(50, 10 * epoch)"}
    schedule = create_schedule("curriculum", weights=weights)
    assert p(schedule, 1) == pytest.approx([100 / 110, 0, 10 / 110])
    assert p(schedule, 5) == pytest.approx([0.5, 0.25, 0.25])
    with pytest.raises(UserError, match="all 0"):
        p(create_schedule("curriculum", weights=dict.fromkeys("abc", "epoch > 3")))
    with pytest.raises(UserError, match="'a' is -1"):
        p(create_schedule("curriculum", weights={"a": "-1"}))
    with pytest.raises(UserError, match="'d'"):
        p(create_schedule("curriculum", weights={"d": 1}))
    with pytest.raises(UserError, match="needs epochs"):
        p(create_schedule("curriculum", weights={"a": "epochs - epoch"}), 1, None)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("__import__('os').system('true')", "expected numbers"),
        ("epoch.__class__", "expected numbers"),
        ("[1, 2]", "expected numbers"),
        ("'a' * 9", "expected numbers"),
        ("(lambda: 1)()", "expected numbers"),
        ("True", "expected numbers"),
        ("epoc", "did you mean 'epoch'"),
        ("maxi(1, 2)", "did you mean 'max'"),
        ("min(*[1])", "expected numbers"),
        ("epoch +", "cannot be read"),
        ("", "cannot be read"),
        ("1 +" * 400 + "1", "letters"),
    ],
)
def test_a_formula_is_arithmetic_and_nothing_else(formula: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        create_schedule("curriculum", weights={"a": formula})


@pytest.mark.parametrize(
    "formula",
    ["1 / (epoch - 1)", "9 ** 9 ** 9 ** 9", "log(0)", "(0 - 8) ** 0.5", "min()", "exp(1e9)"],
)
def test_a_formula_without_a_value_says_so(formula: str) -> None:
    with pytest.raises(UserError, match="has no value"):
        p(create_schedule("curriculum", weights={"a": formula}))


def test_words_and_arguments_that_cannot_be() -> None:
    with pytest.raises(UserError, match="did you mean 'temperature'"):
        create_schedule("temprature")
    with pytest.raises(UserError, match="did you mean 'alpha'"):
        create_schedule("temperature", alhpa=1)
    for name, arguments, said in [
        ("temperature", {"alpha": -1}, "at least 0"),
        ("temperature", {"temperature": 0}, "above 0"),
        ("temperature", {"alpha": 1, "temperature": 1}, "both"),
        ("annealed", {"last": math.inf}, "number"),
        ("capped", {"limit": 0}, "at least 1"),
        ("round_robin", {"turns": 0}, "at least 1"),
        ("curriculum", {}, "neither"),
        ("curriculum", {"order": []}, "once"),
        ("curriculum", {"order": ["a", "a"]}, "once"),
    ]:
        with pytest.raises(UserError, match=said):
            create_schedule(name, **arguments)
    for wrong in ({}, {"uniform": None, "capped": None}, {"capped": 3}, 7):
        with pytest.raises(UserError):
            create_schedule(wrong)
    made = create_schedule({"capped": {"limit": 7}})
    assert made.limit == 7
    assert create_schedule(made) is made
    with pytest.raises(UserError, match="one of the two"):
        create_schedule(made, limit=3)


def test_sizes_that_are_not_known() -> None:
    for name in ("proportional", "temperature", "annealed", "capped", "shuffled_union"):
        with pytest.raises(UserError, match="not known"):
            create_schedule(name).probabilities(TASKS, {**SIZES, "b": None}, 1, 5)
        with pytest.raises(UserError, match="0 rows"):
            create_schedule(name).probabilities(TASKS, {**SIZES, "b": 0}, 1, 5)
    assert create_schedule("uniform").probabilities(("a",), {"a": None}).tolist() == [1.0]


def test_weights_that_are_none() -> None:
    with pytest.raises(UserError, match="all 0"):
        normalised("x", TASKS, torch.zeros(3))
    with pytest.raises(UserError, match="'b' is -1"):
        normalised("x", TASKS, [1, -1, 1])
    with pytest.raises(UserError, match="'c' is nan"):
        normalised("x", TASKS, [1, 1, math.nan])
    with pytest.raises(UserError, match="no task"):
        normalised("x", (), [])


def test_lists_are_made_without_loading_anything() -> None:
    assert {"active", "shuffled_union", "most_conflict"} <= set(list_schedules())
    assert list_schedules("jean_*") == ["jean_explicit", "jean_implicit"]
