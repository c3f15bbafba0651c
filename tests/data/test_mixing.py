"""Mixtures of data sets: what is drawn, how each is walked, joined, saved and refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from polytask.data import Batches, InTurn, Mixture, Parts
from polytask.errors import UserError
from polytask.optimization.scheduling import list_schedules

SIZES = {"a": 100, "b": 10, "c": 3}


def rows(task: str, count: int, width: int = 2) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs that say their own row number, and targets that say the task."""
    x = torch.arange(count, dtype=torch.float32)[:, None].expand(-1, width).clone()
    return {"x": x}, {task: torch.full((count,), float(ord(task)))}


def three(schedule: Any = "proportional", **options: Any) -> Mixture:
    return Mixture(
        {task: rows(task, n) for task, n in SIZES.items()}, schedule, batch_size=4, **options
    )


def task_of(batch: Any) -> str:
    (task,) = batch[1]
    return str(task)


def numbers(batch: Any) -> list[int]:
    return [int(x) for x in batch[0]["x"][:, 0]]


def plain(batch: Any) -> Any:
    """A batch as something that can be compared."""
    if isinstance(batch, Parts):
        return [plain(part) for part in batch]
    inputs, targets = batch
    return (
        {key: value.tolist() for key, value in inputs.items()},
        {key: str(value.tolist()) for key, value in targets.items()},
    )


def test_an_epoch_is_one_pass_over_all() -> None:
    mixture = three("shuffled_union")
    assert len(mixture) == 25 + 3 + 1
    seen: dict[str, list[int]] = {task: [] for task in SIZES}
    for batch in mixture:
        seen[task_of(batch)] += numbers(batch)
    assert {task: sorted(found) for task, found in seen.items()} == {
        task: list(range(n)) for task, n in SIZES.items()
    }
    assert mixture.drawn == {"a": 25, "b": 3, "c": 1}


@pytest.mark.parametrize("name", ["uniform", "temperature", "round_robin", "shuffled_union"])
def test_no_row_comes_twice_before_all_have_come(name: str) -> None:
    mixture = three(name, steps_per_epoch=17)
    seen: dict[str, list[int]] = {task: [] for task in SIZES}
    for _ in range(6):
        for batch in mixture:
            seen[task_of(batch)] += numbers(batch)
    orders = set()
    for task, n in SIZES.items():
        found = seen[task]
        for start in range(0, len(found) - n + 1, n):
            assert sorted(found[start : start + n]) == list(range(n)), task
            if task == "b":
                orders.add(tuple(found[start : start + n]))
    assert len(orders) > 1  # each pass has an order of its own


def test_draws_follow_the_schedule() -> None:
    for schedule in ("proportional", "uniform", {"temperature": {"alpha": 0.5}}):
        mixture = three(schedule, steps_per_epoch=4000)
        drawn = Counter(task_of(batch) for batch in mixture)
        p = mixture.schedule.probabilities(mixture.names, mixture.sizes).numpy()
        assert chisquare([drawn[t] for t in SIZES], p * 4000).pvalue > 1e-3


def test_draws_are_a_function_of_seed_and_epoch() -> None:
    def tasks(mixture: Mixture, epoch: int) -> list[str]:
        mixture.set_epoch(epoch)
        return [task_of(batch) for batch in mixture]

    one, other = three("uniform"), three("uniform")
    first, second = tasks(one, 1), tasks(one, 2)
    assert first != second
    assert tasks(other, 2) == second  # whatever came before
    assert tasks(three("uniform", seed=1), 1) != first
    assert tasks(one, 1) == first


def test_beginning_again_is_as_new() -> None:
    mixture = three("uniform")
    whole = [plain(batch) for _ in range(3) for batch in mixture]
    mixture.set_epoch(1)
    assert [plain(batch) for _ in range(3) for batch in mixture] == whole
    mixture.restart()
    assert [plain(batch) for batch in mixture] == whole[: len(mixture)]


def test_batches_keep_their_size_and_others_may_have_their_own() -> None:
    x, y = rows("a", 20)
    mixture = Mixture(
        {"a": Batches(x, y, 5), "b": rows("b", 20)}, "shuffled_union", batch_size={"b": 10}
    )
    sizes = {task: {len(b[1][task]) for b in mixture if task in b[1]} for task in "ab"}
    assert sizes == {"a": {5}, "b": {10}}
    assert len(three(drop_last=False, steps_per_epoch=3)) == 3
    dropped = Mixture({"a": rows("a", 10)}, batch_size=4, drop_last=True)
    assert [len(numbers(batch)) for batch in dropped] == [4, 4]


def test_several_tasks_of_one_data_set() -> None:
    x, y = rows("a", 8)
    both = (x, {**y, "d": torch.zeros(8), "further": torch.zeros(8)})
    mixture = Mixture({("a", "d"): both, "b": rows("b", 8)}, "round_robin", batch_size=4)
    assert mixture.names == ("a+d", "b")
    assert mixture.tasks == ("a", "d", "b")
    assert [tuple(batch[1]) for batch in mixture] == [("a", "d"), ("b",), ("a", "d"), ("b",)]


def test_steps_of_all_are_one_batch_with_missing_labels() -> None:
    mixture = three(tasks_per_step="all")
    assert len(mixture) == 25  # as many as the longest has
    inputs, targets = next(iter(mixture))
    assert inputs["x"].shape == (4 + 4 + 3, 2)
    assert targets["a"].isnan().tolist() == [False] * 4 + [True] * 7
    assert targets["b"].isnan().tolist() == [True] * 4 + [False] * 4 + [True] * 3
    assert mixture.drawn == {"a": 1, "b": 1, "c": 1}


def test_marks_of_missing_labels_follow_the_type() -> None:
    x = {"x": torch.zeros(2, 1)}
    mixture = Mixture(
        {
            "codes": (x, {"codes": torch.tensor([0, 1])}),
            "yes": (x, {"yes": torch.tensor([True, False])}),
            "map": (x, {"map": torch.zeros(2, 3, 3, dtype=torch.float64)}),
        },
        tasks_per_step="all",
    )
    _, targets = next(iter(mixture))
    assert targets["codes"].tolist()[2:] == [-100] * 4
    assert targets["codes"].dtype == torch.int64
    assert targets["yes"].isnan().tolist() == [True] * 2 + [False] * 2 + [True] * 2
    assert targets["map"].shape == (6, 3, 3)
    assert targets["map"].dtype == torch.float64


def test_inputs_that_differ_come_in_parts() -> None:
    for other in (rows("b", 4, width=3), ({"z": torch.zeros(4, 2)}, {"b": torch.zeros(4)})):
        batch = next(iter(Mixture({"a": rows("a", 4), "b": other}, tasks_per_step="all")))
        assert isinstance(batch, Parts)
        assert [tuple(targets) for _, targets in batch] == [("a",), ("b",)]


def test_some_tasks_a_step_without_repetition() -> None:
    mixture = three("uniform", tasks_per_step=2, steps_per_epoch=600)
    pairs = Counter(tuple(sorted(batch[1])) for batch in mixture)
    assert set(pairs) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert chisquare(list(pairs.values())).pvalue > 1e-3
    assert len(three("uniform", tasks_per_step=2)) == 15  # half of 29, rounded up
    turns = three("round_robin", tasks_per_step=2, steps_per_epoch=3)
    assert [tuple(sorted(batch[1])) for batch in turns] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_a_step_has_fewer_tasks_when_the_others_have_probability_0() -> None:
    schedule = {"curriculum": {"weights": {"a": 1, "b": "epoch > 1", "c": 0}}}
    mixture = three(schedule, tasks_per_step=2, steps_per_epoch=5)
    assert {tuple(batch[1]) for batch in mixture} == {("a",)}
    assert {tuple(sorted(batch[1])) for batch in mixture} == {("a", "b")}


@pytest.mark.parametrize("name", [n for n in list_schedules() if n != "curriculum"])
def test_left_out_tasks_are_not_drawn(name: str) -> None:
    targets = dict.fromkeys(SIZES, 1.0)
    takes = name in ("active", "ucb", "jean_explicit", "jean_implicit")
    mixture = three({name: {"targets": targets} if takes else {}}, epochs=3, steps_per_epoch=29)
    tasks = []
    for step, batch in enumerate(mixture):
        tasks.append(task_of(batch))
        mixture.leave_out({"a", "c"} if step in range(5, 12) else ())
    assert set(tasks[6:13]) == {"b"}
    assert len(tasks) == 29
    with pytest.raises(UserError, match="no data set"):
        mixture.leave_out(set(SIZES))


def test_a_data_set_rests_when_all_its_tasks_do() -> None:
    x, y = rows("a", 8)
    mixture = Mixture({("a", "d"): (x, {**y, "d": y["a"]}), "b": rows("b", 8)}, "uniform")
    mixture.leave_out({"a"})
    assert {tuple(batch[1]) for _ in range(9) for batch in mixture} == {("a", "d"), ("b",)}
    mixture.leave_out({"a", "d"})
    assert {tuple(batch[1]) for _ in range(9) for batch in mixture} == {("b",)}


@given(
    name=st.sampled_from(
        ["uniform", "proportional", "round_robin", "shuffled_union", "ucb", "active"]
    ),
    cut=st.integers(0, 60),
    draws=st.sampled_from([1, 2, "all"]),
)
@settings(max_examples=25, deadline=None)
def test_a_saved_state_goes_on_with_the_same_batches(name: str, cut: int, draws: Any) -> None:
    if draws == 2 and name in ("shuffled_union", "ucb"):
        draws = 1
    schedule = {name: {"targets": dict.fromkeys(SIZES, 1.0)} if name in ("ucb", "active") else {}}

    def walk(mixture: Mixture, state: list[Any], stop: int | None, done: int = 0) -> list[Any]:
        """Three epochs; with `stop`, the state after so many batches is put into `state`."""
        found = []
        while mixture.epoch <= 3:
            for batch in mixture:
                found.append(plain(batch))
                mixture.observe(scores={"a": 0.1 * ((done + len(found)) % 7), "b": 0.3}, epoch=1)
                if stop == len(found):
                    state.append(json.loads(json.dumps(mixture.state_dict())))
                    return found
        return found

    def make() -> Mixture:
        return three(schedule, tasks_per_step=draws, steps_per_epoch=21)

    whole = walk(make(), [], None)
    state: list[Any] = []
    begun = walk(make(), state, cut) if cut else []
    resumed = make()
    resumed.load_state_dict(state[0] if state else make().state_dict())
    assert begun + walk(resumed, [], None, cut) == whole


def test_the_state_of_another_mixture_is_refused() -> None:
    state = three().state_dict()
    with pytest.raises(UserError, match="seed"):
        three(seed=1).load_state_dict(state)
    with pytest.raises(UserError, match="same data sets"):
        Mixture({"a": rows("a", 3)}).load_state_dict(state)


def test_fingerprints_tell_data_and_mixing_apart() -> None:
    one = three()
    x, y = rows("b", 10)
    changed = Mixture({"a": rows("a", 100), "b": (x, {"b": y["b"] + 1}), "c": rows("c", 3)})
    different = [n for n in SIZES if one.fingerprints()[n] != changed.fingerprints()[n]]
    assert different == ["b"]
    assert one.fingerprint() == three().fingerprint()
    for options in (
        {"schedule": "uniform"},
        {"schedule": {"temperature": {"alpha": 1.0}}},
        {"seed": 1},
        {"steps_per_epoch": 3},
        {"tasks_per_step": "all"},
        {"shuffle": False},
    ):
        assert three(**options).how() != one.how()
        assert three(**options).fingerprints() == one.fingerprints()
    assert three({"temperature": {"alpha": 0.5}}).how() != three("temperature").how()


def test_targets_are_those_of_all_rows() -> None:
    mixture = three()
    assert {task: len(found) for task, found in mixture.targets.items()} == SIZES
    assert mixture.position == 0
    x, y = rows("a", 5)
    twice = Mixture({"a": rows("a", 4), ("a", "b"): (x, {**y, "b": y["a"]})})
    assert len(twice.targets["a"]) == 9


def test_rates_of_the_newest_step() -> None:
    schedule = {"jean_implicit": {"targets": dict.fromkeys(SIZES, 1.0), "temperature": 1e9}}
    mixture = three(schedule, steps_per_epoch=30)
    mixture.observe(scores={"a": 1.0, "b": 0.6, "c": 0.8})
    rates = {task_of(batch): mixture.rate for batch in mixture}
    assert rates["b"] > 1.1
    assert rates["c"] == pytest.approx(1.0, abs=1e-6)
    assert rates["a"] < 0.9


def test_starved_data_sets_are_reported() -> None:
    sources = {"a": rows("a", 2000), "b": rows("b", 8), "c": rows("c", 400)}
    mixture = Mixture(sources, "proportional", batch_size=4, seed=1)
    for _ in range(3):
        list(mixture)
    (remark,) = mixture.remarks()
    assert "'b', which has 8 rows, was starved" in remark
    assert "temperature" in remark
    even = Mixture(sources, "uniform", batch_size=4)
    list(even)
    assert even.remarks() == []
    even.leave_out({"b"})
    list(even)
    assert even.remarks() == []  # left out on purpose


def test_in_turn_gives_every_row_once_in_order() -> None:
    both = InTurn({"a": rows("a", 9), "b": rows("b", 3)}, batch_size=4)
    for _ in range(2):
        batches = list(both)
        assert [task_of(batch) for batch in batches] == ["a", "a", "a", "b"]
        assert [n for batch in batches for n in numbers(batch)] == [*range(9), *range(3)]
    assert {task: len(found) for task, found in both.targets.items()} == {"a": 9, "b": 3}


def test_ranks_share_the_rows_of_every_batch() -> None:
    whole = three("uniform", tasks_per_step=2)
    parts = [three("uniform", tasks_per_step=2, rank=rank, world=2) for rank in range(2)]
    for full, *shares in zip(whole, *parts, strict=True):
        assert all(set(share[1]) == set(full[1]) for share in shares)
        labels = Counter()
        for inputs, targets in [full]:
            labels.update(_labels(inputs, targets))
        together = Counter()
        for inputs, targets in shares:
            together.update(_labels(inputs, targets))
        assert together == labels


def _labels(inputs: dict[str, Tensor], targets: dict[str, Tensor]) -> list[tuple[str, float]]:
    return [
        (task, float(x))
        for task, target in targets.items()
        for x, y in zip(inputs["x"][:, 0], target, strict=True)
        if not bool(y.isnan())
    ]


def test_a_rank_without_a_row_takes_the_step_without_a_label() -> None:
    batch = next(iter(Mixture({"a": rows("a", 2)}, rank=2, world=3)))
    assert numbers(batch)[0] in (0, 1)
    assert batch[1]["a"].isnan().tolist() == [True]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mixture({}), "found none"),
        (lambda: Mixture([1]), "found a list"),
        (lambda: Mixture({3: rows("a", 3)}), "named by a task"),
        (lambda: Mixture({("a", "a"): rows("a", 3)}), "once"),
        (lambda: Mixture({"a": rows("a", 0)}), "'a' is empty"),
        (lambda: Mixture({"a": rows("b", 3)}), "no target 'a'; found b"),
        (lambda: Mixture({"a": 7}), "of type int"),
        (lambda: Mixture({"a": iter([1])}), "iterator"),
        (lambda: Mixture({"a": ({"x": torch.zeros(3)}, {"a": torch.zeros(2)})}), "same number"),
        (lambda: three("temperatur"), "did you mean 'temperature'"),
        (lambda: three({"temperature": {"alpa": 1}}), "did you mean 'alpha'"),
        (
            lambda: (
                three({"curriculum": {"weights": dict.fromkeys("abc", 0)}}).__iter__().__next__()
            ),
            "all 0",
        ),
        (lambda: three(tasks_per_step=4), "1 to 3"),
        (lambda: three(tasks_per_step="both"), "'all'"),
        (lambda: three("shuffled_union", tasks_per_step=2), "single tasks"),
        (lambda: three(steps_per_epoch=0), "above 0"),
        (lambda: three(rank=2, world=2), "0 to 1"),
        (lambda: three(seed=-1), "at least 0"),
        (lambda: three(sizes={"d": 3}), "'d'"),
        (lambda: Mixture({"a": rows("a", 3)}, batch_size={"b": 3}), "'b'"),
        (lambda: Mixture({"a": rows("a", 3)}, batch_size=0), "1 or more"),
        (lambda: Mixture({"a": rows("a", 3)}, batch_size=4, drop_last=True), "no batch"),
        (lambda: Mixture({"a": rows("a", 3)}, kinds={"a": "binary"}), "no data set is a table"),
        (lambda: three("annealed").__iter__().__next__(), "how many"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def test_shapes_of_one_task_must_agree() -> None:
    x, y = rows("a", 4)
    sources = {"a": (x, y), ("a", "b"): (x, {"a": torch.zeros(4, 2), "b": y["a"]})}
    with pytest.raises(UserError, match="one shape"):
        next(iter(Mixture(sources, tasks_per_step="all")))
    with pytest.raises(UserError, match="different shapes"):
        _ = Mixture(sources).targets


def test_sizes_can_be_said() -> None:
    assert three(sizes={"a": 1}).sizes == {"a": 1, "b": 10, "c": 3}
    p = three(sizes={"a": 7}).schedule.probabilities(("a", "b", "c"), {"a": 7, "b": 10, "c": 3})
    assert np.allclose(p, [0.35, 0.5, 0.15])
