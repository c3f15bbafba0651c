"""Splits: disjoint, repeatable, and true to groups, time and class shares."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data import Dataset, make_splits, table_dataset
from polytask.errors import UserError
from polytask.tasks import Task

PARTS = ("train", "val", "test")
fractions = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))
seeds = st.integers(0, 2**32 - 1)


def dataset(n: int, **options: object) -> Dataset:
    rng = np.random.default_rng(n)
    return Dataset(
        name="t",
        inputs={"numeric": rng.normal(size=(n, 1))},
        targets={"y": rng.normal(size=n)},
        tasks={"y": Task("y", "regression")},
        **options,  # type: ignore[arg-type]
    )


def labelled(codes: list[int]) -> Dataset:
    k = max(max(codes) + 1, 2)
    data = dataset(len(codes))
    data.tasks["c"] = Task("c", "multiclass", classes=tuple(range(k)))
    data.targets["c"] = np.asarray(codes)
    return Dataset("t", data.inputs, data.targets, data.tasks)


def check_partition(parts: dict[str, np.ndarray], n: int) -> None:
    together = np.concatenate([parts[p] for p in PARTS])
    np.testing.assert_array_equal(np.sort(together), np.arange(n))
    assert all(len(parts[p]) for p in PARTS)


@given(st.integers(3, 300), fractions, seeds)
def test_random_is_a_partition_of_the_asked_sizes(n: int, shares: tuple, seed: int) -> None:
    test, val = shares
    parts = make_splits(dataset(n), test_fraction=test, val_fraction=val, seed=seed)
    check_partition(parts, n)
    assert abs(len(parts["test"]) - n * test) <= 1
    assert abs(len(parts["val"]) - n * val) <= 1
    again = make_splits(dataset(n), test_fraction=test, val_fraction=val, seed=seed)
    for part in PARTS:
        np.testing.assert_array_equal(parts[part], again[part])


def test_seeds_differ() -> None:
    first, second = (make_splits(dataset(200), seed=s)["test"] for s in (0, 1))
    assert not np.array_equal(first, second)


@given(st.lists(st.integers(3, 40), min_size=1, max_size=6), st.integers(0, 30), fractions, seeds)
def test_stratified_keeps_class_shares(
    counts: list[int], missing: int, shares: tuple, seed: int
) -> None:
    codes = np.repeat(np.arange(len(counts)), counts).tolist() + [-100] * missing
    np.random.default_rng(seed).shuffle(codes)
    data = labelled(codes)
    test, val = shares
    parts = make_splits(data, split="stratified", test_fraction=test, val_fraction=val, seed=seed)
    check_partition(parts, data.n)
    n_test, n_val = len(parts["test"]), len(parts["val"])
    for code in [*range(len(counts)), -100]:
        count = codes.count(code)
        found = {p: int((data.targets["c"][parts[p]] == code).sum()) for p in PARTS}
        assert abs(found["test"] - count * n_test / data.n) < 1
        assert abs(found["val"] - count * n_val / data.n) < 2
        assert abs(found["train"] - count * len(parts["train"]) / data.n) < 2


@given(st.lists(st.integers(1, 20), min_size=3, max_size=30), fractions, seeds)
def test_groups_never_span_parts(sizes: list[int], shares: tuple, seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.random.default_rng(seed).permutation(groups)
    data = dataset(len(groups), groups=groups)
    test, val = shares
    parts = make_splits(data, split="group", test_fraction=test, val_fraction=val, seed=seed)
    check_partition(parts, data.n)
    seen = [set(groups[parts[p]].tolist()) for p in PARTS]
    assert sum(map(len, seen)) == len(set.union(*seen)) == len(sizes)


@given(st.lists(st.integers(0, 30), min_size=3, max_size=200), fractions, seeds)
def test_time_respects_order_and_ties(times: list[int], shares: tuple, seed: int) -> None:
    data = dataset(len(times), times=np.asarray(times))
    test, val = shares
    options = {"split": "time", "test_fraction": test, "val_fraction": val}
    if len(set(times)) < 3:
        with pytest.raises(UserError, match="a time for every part"):
            make_splits(data, **options)  # type: ignore[arg-type]
        return
    parts = make_splits(data, seed=seed, **options)  # type: ignore[arg-type]
    check_partition(parts, data.n)
    when = {p: np.asarray(times)[parts[p]] for p in PARTS}
    assert when["train"].max() < when["val"].min()
    assert when["val"].max() < when["test"].min()
    other = make_splits(data, seed=seed + 1, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(parts["test"], other["test"])


def test_time_sizes_are_exact_when_no_times_are_equal() -> None:
    parts = make_splits(dataset(40, times=np.arange(40.0)), split="time")
    assert [len(parts[p]) for p in PARTS] == [28, 6, 6]
    np.testing.assert_array_equal(parts["test"], np.arange(34, 40))


def test_columns_of_a_real_table_serve_as_group_and_time(wine: pd.DataFrame) -> None:
    data = table_dataset(wine, ["alcohol"], kinds={"cultivar": "categorical"})
    parts = make_splits(data, split="group:cultivar")
    groups = [set(wine["cultivar"][parts[p]]) for p in PARTS]
    assert sorted(map(len, groups)) == [1, 1, 1]
    parts = make_splits(data, split="time:magnesium")
    assert wine["magnesium"][parts["train"]].max() < wine["magnesium"][parts["test"]].min()
    aside = table_dataset(wine, ["alcohol"], group="cultivar")
    parts = make_splits(aside, split="group:cultivar", seed=3)
    assert len({*wine["cultivar"][parts["test"]]} & {*wine["cultivar"][parts["train"]]}) == 0
    with pytest.raises(UserError, match="unknown column for a time split: 'magnesum'; did you"):
        make_splits(data, split="time:magnesum")


def test_a_fixed_test_part_is_honoured() -> None:
    test = np.arange(0, 100, 4)
    data = dataset(100, fixed_split={"test": test})
    one, two = (make_splits(data, seed=s, test_fraction=0.5) for s in (0, 1))
    for parts in (one, two):
        check_partition(parts, 100)
        np.testing.assert_array_equal(parts["test"], test)
        assert len(parts["val"]) == round(75 * 0.15)
    assert not np.array_equal(one["val"], two["val"])
    whole = {"train": np.arange(50), "val": np.arange(50, 60), "test": np.arange(60, 100)}
    parts = make_splits(dataset(100, fixed_split=whole), seed=5)
    for part in PARTS:
        np.testing.assert_array_equal(parts[part], whole[part])


def test_a_fixed_test_part_that_breaks_the_promise_is_refused() -> None:
    fixed = {"test": np.asarray([9])}
    groups = dataset(10, fixed_split=fixed, groups=np.arange(10) // 2)
    with pytest.raises(UserError, match="1 group is in both"):
        make_splits(groups, split="group")
    times = dataset(10, fixed_split=fixed, times=np.arange(10)[::-1].copy())
    with pytest.raises(UserError, match="rows are not earlier than all given test rows"):
        make_splits(times, split="time")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "randon"}, "unknown split 'randon'; did you mean 'random'"),
        ({"split": "random:x"}, "takes no column"),
        ({"split": "stratified"}, "needs a binary or multiclass task; found only y"),
        ({"split": "stratified:y"}, "'y' is regression"),
        ({"split": "group"}, "needs a column: group:COLUMN"),
        ({"test_fraction": 0.6, "val_fraction": 0.4}, "expected less than 1"),
        ({"test_fraction": -0.1}, "test_fraction is -0.1"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0"),
    ],
)
def test_impossible_splits(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_splits(dataset(50), **options)


def test_too_little_to_split() -> None:
    with pytest.raises(UserError, match="2 rows are too few"):
        make_splits(dataset(2))
    with pytest.raises(UserError, match=r"class 1 of 'c' has 2 rows"):
        make_splits(labelled([0] * 20 + [1] * 2), split="stratified")
    with pytest.raises(UserError, match="a group for every part"):
        make_splits(dataset(9, groups=np.arange(9) % 2), split="group")
    assert len(make_splits(dataset(2), val_fraction=0)["val"]) == 0


def test_a_lone_large_group_leaves_a_group_for_every_part() -> None:
    data = dataset(100, groups=np.asarray([0, 1] + [2] * 98))
    for seed in range(20):
        parts = make_splits(data, split="group", seed=seed)
        assert [len(parts[p]) for p in PARTS] == [98, 1, 1]
