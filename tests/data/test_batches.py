"""Batches: every row once, an order that follows (seed, epoch), and exact continuation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polytask.data import Batches
from polytask.errors import UserError


def batches(n: int = 10, size: int = 3, **options: object) -> Batches:
    rows = torch.arange(n)
    return Batches({"x": rows[:, None] * 1.0}, {"a": rows, "b": -rows}, size, **options)  # type: ignore[arg-type]


def rows(items: Batches) -> list[list[int]]:
    return [targets["a"].tolist() for _, targets in items]


@given(st.integers(1, 50), st.integers(1, 60), st.booleans())
def test_every_row_comes_once_with_its_own_values(n: int, size: int, shuffle: bool) -> None:
    items = batches(n, size, shuffle=shuffle)
    seen: list[int] = []
    count = 0
    for inputs, targets in items:
        assert torch.equal(inputs["x"][:, 0], targets["a"].float())
        assert torch.equal(targets["a"], -targets["b"])
        seen += targets["a"].tolist()
        count += 1
    assert count == len(items)
    assert sorted(seen) == list(range(n))
    assert shuffle or seen == sorted(seen)


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first, second = batches(100, shuffle=True, seed=1), batches(100, shuffle=True, seed=1)
    epochs = [rows(first) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    second.set_epoch(2)
    assert rows(second) == epochs[2]
    other = batches(100, shuffle=True, seed=2)
    assert rows(other) not in epochs


def test_a_stopped_pass_starts_over_and_a_state_goes_on() -> None:
    items = batches(20, shuffle=True, seed=4)
    whole = rows(items)
    items.set_epoch(0)
    for number, _ in enumerate(items):
        if number == 2:
            state = items.state_dict()
            break
    assert state == {"seed": 4, "epoch": 0, "position": 3}
    assert rows(items) == whole
    fresh = batches(20, shuffle=True)
    fresh.load_state_dict(state)
    assert rows(fresh) == whole[3:]
    items.set_epoch(1)
    assert rows(fresh) == rows(items)


def test_drop_last() -> None:
    assert [len(b) for b in rows(batches(10, 4, drop_last=True))] == [4, 4]
    assert [len(b) for b in rows(batches(8, 4, drop_last=True))] == [4, 4]


@pytest.mark.parametrize(
    ("n", "size", "options", "message"),
    [
        (0, 3, {}, "no rows"),
        (5, 0, {}, "found 0"),
        (5, 8, {"drop_last": True}, "drop_last leaves no batch"),
    ],
)
def test_nothing_to_iterate(n: int, size: int, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        batches(n, size, **options)


def test_row_counts_must_agree() -> None:
    with pytest.raises(UserError, match=r"same number of rows everywhere.*'x': 3"):
        Batches({"x": torch.zeros(3)}, {"y": torch.zeros(4)})
