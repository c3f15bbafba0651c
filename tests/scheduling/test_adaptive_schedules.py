"""Schedules that follow what training tells: closed forms, and what moves them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polytask.errors import UserError
from polytask.optimization.scheduling import Schedule, create_schedule

TASKS = ("a", "b", "c")
SIZES = {"a": 10000, "b": 1000, "c": 100}
ONES = dict.fromkeys(TASKS, 1.0)


def p(schedule: Schedule, tasks: tuple[str, ...] = TASKS) -> list[float]:
    return schedule.probabilities(tasks, SIZES, 2, 5).tolist()


def softmax(values: list[float]) -> list[float]:
    powers = np.exp(np.asarray(values) - max(values))
    return list(powers / powers.sum())


def test_active_is_the_softmax_of_what_is_missing() -> None:
    schedule = create_schedule("a5c", targets={"a": 0.9, "b": 0.8, "c": 0.5})
    assert p(schedule) == pytest.approx([1 / 3] * 3)
    schedule.observe(scores={"a": 0.9, "b": 0.72, "c": 0.6})
    assert p(schedule) == pytest.approx(softmax([0 / 0.05, 0.1 / 0.05, -0.2 / 0.05]))


def test_active_averages_a_window() -> None:
    schedule = create_schedule("active", targets=ONES, window=3)
    for score in (0.0, 0.5, 0.6, 0.7):
        schedule.observe(scores={"a": score, "b": 0.9, "c": 0.9})
    assert p(schedule) == pytest.approx(softmax([0.4 / 0.05, 0.1 / 0.05, 0.1 / 0.05]))


def test_errors_are_told_as_negatives() -> None:
    schedule = create_schedule("active", targets={"a": 2.0, "b": 2.0, "c": 2.0})
    schedule.observe(scores={"a": -2.0, "b": -2.2, "c": -1.8})
    assert p(schedule) == pytest.approx(softmax([0, 0.1 / 0.05, -0.1 / 0.05]))
    explicit = create_schedule("jean_explicit", targets={"a": 2.0}, alpha=1.0)
    explicit.observe(scores={"a": -4.0})
    assert explicit.reached("a") == 0.5


def test_targets_come_from_single_task_scores_unless_given() -> None:
    schedule = create_schedule("active", targets={"a": 0.5})
    schedule.refer({"a": 100.0, "b": 0.8})
    schedule.observe(scores={"a": 0.5, "b": 0.8})
    assert p(schedule, ("a", "b")) == pytest.approx([0.5, 0.5])
    with pytest.raises(UserError, match="'c' has none"):
        schedule.observe(scores={"c": 0.3})
    with pytest.raises(UserError, match="other than 0"):
        create_schedule("active", targets={"a": 0})


def test_ucb_takes_the_highest_bound() -> None:
    schedule = create_schedule("ua4c", targets=ONES, discount=1.0, beta=0.1)
    schedule.observe(scores={"a": 0.9, "b": 0.4, "c": 0.8})
    drawn = []
    for _ in range(60):
        task = TASKS[int(np.argmax(p(schedule)))]
        drawn.append(task)
        schedule.drawn(task)
    assert sorted(drawn[:3]) == list(TASKS)
    n = drawn.count("b")
    assert n > 40
    assert schedule.bound("b") == pytest.approx(0.6 + 0.1 / math.sqrt(n))


def test_ucb_comes_back_to_what_it_left() -> None:
    schedule = create_schedule("ucb", targets=ONES, discount=0.9, beta=0.5)
    schedule.observe(scores={"a": 0.9, "b": 0.4, "c": 0.8})
    drawn = []
    for _ in range(200):
        drawn.append(TASKS[int(np.argmax(p(schedule)))])
        schedule.drawn(drawn[-1])
    # With a discount no count grows for ever, so no bonus dies out.
    assert set(drawn[100:]) == set(TASKS)
    assert drawn[100:].count("b") > drawn[100:].count("c") >= drawn[100:].count("a")


def test_jean_explicit() -> None:
    schedule = create_schedule("jean_explicit", targets=ONES, alpha=2.0, epsilon=0.1)
    assert p(schedule) == pytest.approx([1 / 3] * 3)
    schedule.observe(scores={"a": 1.5, "b": 0.5, "c": 0.0})
    weights = np.asarray([1 / 1.1, 1 / 0.35, 1 / 0.1])
    assert p(schedule) == pytest.approx(list(weights / weights.sum()))


def test_jean_implicit_scales_rates_and_draws_by_size() -> None:
    schedule = create_schedule("jean_implicit", targets=ONES, gamma=0.3, alpha=2.0, beta=1.0)
    assert schedule.rates(TASKS).tolist() == [1, 1, 1]
    schedule.observe(scores={"a": 1.0, "b": 0.9, "c": 0.2})
    mean = 0.7
    golden = [1 - 0.3, 1 - 0.2, 1 + 0.3]
    assert abs(1.0 - mean) == pytest.approx(0.3)
    assert schedule.rates(TASKS).tolist() == pytest.approx(golden)
    assert p(schedule) == p(create_schedule("proportional"))


def test_task_prioritisation_is_focal() -> None:
    schedule = create_schedule("dtp", gamma=2.0, decay=0.0)
    schedule.observe(scores={"a": 0.9, "b": 0.5, "c": 0.5})
    focal = [0.01 * -math.log(0.9), 0.25 * math.log(2), 0.25 * math.log(2)]
    assert p(schedule) == pytest.approx([x / sum(focal) for x in focal])
    running = create_schedule("dtp", decay=0.5)
    running.observe(scores={"a": 0.2, "b": 0.4})
    running.observe(scores={"a": 0.6, "b": 0.4})
    assert p(running, ("a", "b")) == pytest.approx([0.5, 0.5])
    running.observe(scores={"a": 1.0, "b": 0.0})
    assert all(0 < x < 1 for x in p(running))
    with pytest.raises(UserError, match="no share"):
        running.observe(scores={"a": -3.0})
    aimed = create_schedule("dtp", targets={"a": 2.0}, decay=0.0)
    aimed.observe(scores={"a": -4.0, "b": 0.5})
    assert p(aimed, ("a", "b")) == pytest.approx([0.5, 0.5])


def test_least_progress_follows_ratios_without_units() -> None:
    schedule = create_schedule("least_progress", alpha=2.0)
    schedule.observe(losses={"a": 1.0, "b": 1000.0, "c": 3.0}, epoch=1)
    assert p(schedule) == pytest.approx([1 / 3] * 3)
    schedule.observe(losses={"a": 0.5, "b": 1000.0}, epoch=2)
    assert p(schedule) == pytest.approx([0.25 / 2.25, 1 / 2.25, 1 / 2.25])
    schedule.observe(losses={"a": 0.0, "b": 0.0, "c": 0.0}, epoch=3)
    assert p(schedule) == pytest.approx([1 / 3] * 3)
    with pytest.raises(UserError, match="least 0"):
        schedule.observe(losses={"a": -1.0})


def test_most_conflict_reads_negative_cosines() -> None:
    schedule = create_schedule("most_conflict", floor=0.1)
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 5.0]])
    schedule.observe(gramian=(TASKS, rows @ rows.T))
    assert p(schedule) == pytest.approx([0.1 / 3 + 0.45, 0.1 / 3 + 0.45, 0.1 / 3])
    # Scales of gradients play no part, and pairs are one whatever their order.
    twin = create_schedule("most_conflict", floor=0.1)
    rows = rows * torch.tensor([[1e-6], [1e6], [1.0]])
    turned = rows[[2, 1, 0]].double()
    twin.observe(gramian=(("c", "b", "a"), turned @ turned.T))
    assert p(twin) == pytest.approx(p(schedule))
    twin.observe(gramian=(("a", "b"), torch.zeros(2, 2)))
    assert p(twin) == pytest.approx(p(schedule))


def test_most_conflict_is_a_mean_at_first_and_forgets_later() -> None:
    schedule = create_schedule("most_conflict", decay=0.5)
    one = torch.ones(2, 2)
    against = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    for gramian in (against, one):
        schedule.observe(gramian=(("a", "b"), gramian))
    assert schedule.recall("cosine", '["a", "b"]', 9) == pytest.approx(0.0)
    schedule.observe(gramian=(("a", "b"), one))
    assert schedule.recall("cosine", '["a", "b"]', 9) == pytest.approx(0.5)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_worse_scores_never_make_a_task_rarer(scores: list[float]) -> None:
    for name in ("active", "jean_explicit", "task_prioritisation"):
        schedule = create_schedule(name, targets=ONES)
        schedule.observe(scores=dict(zip(TASKS, scores, strict=True)))
        found = p(schedule)
        for i in range(3):
            for j in range(3):
                if scores[i] <= scores[j]:
                    assert found[i] >= found[j] - 1e-9


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("active", {"tau": 0.0}, "above 0"),
        ("active", {"window": 0}, "at least 1"),
        ("active", {"targets": {"a": math.nan}}, "finite"),
        ("ucb", {"discount": 1.5}, "at most 1"),
        ("jean_explicit", {"epsilon": 0.0}, "above 0"),
        ("jean_implicit", {"gamma": 1.0}, "at most"),
        ("task_prioritisation", {"decay": 1.0}, "at most"),
        ("least_progress", {"alpha": -1.0}, "at least 0"),
        ("most_conflict", {"floor": 0.0}, "above 0"),
    ],
)
def test_arguments_that_cannot_be(name: str, arguments: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        create_schedule(name, **arguments)


def test_a_data_set_of_several_tasks_counts_as_their_mean() -> None:
    members = {"a+b": ("a", "b"), "c": ("c",)}
    names = ("a+b", "c")
    scores = {"a": 0.9, "b": 0.5, "c": 0.8}
    made = {
        name: create_schedule(name, targets=ONES)
        for name in ("active", "ucb", "jean_explicit", "jean_implicit", "task_prioritisation")
    }
    made |= {name: create_schedule(name) for name in ("least_progress", "most_conflict")}
    for schedule in made.values():
        schedule.group(members)
        schedule.observe(scores=scores, losses={"a": 1.0, "b": 1.0, "c": 1.0})
        schedule.observe(losses={"a": 0.2, "b": 0.6, "c": 0.8})
        schedule.observe(gramian=(TASKS, torch.eye(3) * 2 - 0.5))
    assert made["active"].missing("a+b") == pytest.approx(0.3)
    assert p(made["active"], names) == pytest.approx(softmax([0.3 / 0.05, 0.2 / 0.05]))
    assert made["jean_explicit"].reached("a+b") == pytest.approx(0.7)
    assert p(made["least_progress"], names) == pytest.approx([1 / 3, 2 / 3])
    rates = made["jean_implicit"].rates(names).tolist()
    alone = made["jean_implicit"].rates(TASKS).tolist()
    assert rates == pytest.approx([(alone[0] + alone[1]) / 2, alone[2]])
    focal = [-(1 - k) * math.log(k) for k in (0.9, 0.5, 0.8)]
    odds = [(focal[0] + focal[1]) / 2, focal[2]]
    assert p(made["task_prioritisation"], names) == pytest.approx([x / sum(odds) for x in odds])
    # a and b fight with each other too, which drawing them together does not mend: of the pairs
    # with the other data set, a+b has one for each of its tasks, and c has two.
    found = p(made["most_conflict"], names)
    assert found == pytest.approx([0.1 + 0.8 / 3, 0.1 + 1.6 / 3])
