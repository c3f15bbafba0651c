"""Raw labels to target arrays."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
import torch

from polytask.errors import UserError
from polytask.tasks import Task

PRICE = Task("price", "regression")
SOLD = Task("sold", "binary", classes=("no", "yes"))
FLAG = Task("flag", "binary", classes=(False, True))
ROOMS = Task("rooms", "multiclass", classes=(1, 2, 5))
TAGS = Task("tags", "multilabel", classes=("red", "green", "blue"))


@pytest.mark.parametrize(
    "values",
    [
        [1, 2.5, None],
        [1, 2.5, float("nan")],
        (1, 2.5, pd.NA),
        np.array([1, 2.5, np.nan]),
        np.array([1, 2.5, None], dtype=object),
        np.ma.masked_array([1, 2.5, 7], mask=[0, 0, 1]),
        pd.Series([1, 2.5, None]),
        pd.Series([1, 2.5, None], dtype="Float64"),
        torch.tensor([1, 2.5, torch.nan], dtype=torch.bfloat16),
        [decimal.Decimal(1), np.float32(2.5), pd.NaT],
    ],
)
def test_regression(values):
    found = PRICE.encode(values)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([1, 2.5, np.nan], dtype=np.float32))


def test_regression_of_integers_bools_and_minus_100():
    assert PRICE.encode([3, -100, True]).tolist() == [3.0, -100.0, 1.0]
    assert PRICE.encode(np.array([3, -100])).tolist() == [3.0, -100.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "abc"], r"expected numbers, found 'abc' of type str \(item 1\)"),
        ([1, "2"], r"found '2' of type str"),
        ([datetime.date(2020, 1, 1)], "found datetime.date"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "expected numbers"),
        ([1, [2, 3]], r"found \[2, 3\]"),
        ([1j], "expected numbers"),
        ([1e39], "too large for float32"),
    ],
)
def test_regression_refuses(values, message):
    with pytest.raises(UserError, match=message):
        PRICE.encode(values)


@pytest.mark.parametrize(
    "values",
    [
        ["yes", "no", None],
        np.array(["yes", "no", None], dtype=object),
        pd.Series(["yes", "no", None]),
        pd.Series(["yes", "no", None], dtype="category"),
        ["yes", "no", -100],
        ["yes", "no", float("nan")],
    ],
)
def test_binary_text(values):
    found = SOLD.encode(values)
    assert found.dtype == np.int64
    assert found.tolist() == [1, 0, -100]


def test_text_arrays():
    assert SOLD.encode(np.array(["yes", "no"])).tolist() == [1, 0]


@pytest.mark.parametrize(
    "values",
    [
        [True, False, None],
        np.array([True, False, None], dtype=object),
        pd.Series([True, False, None], dtype="boolean"),
        [1, 0, -100],
        np.array([1.0, 0.0, np.nan]),
        torch.tensor([1, 0, -100]),
    ],
)
def test_bools(values):
    assert FLAG.encode(values).tolist() == [1, 0, -100]
    assert Task("flag", "binary").encode(values).tolist() == [1, 0, -100]


def test_multiclass_numbers_and_dense_arrays():
    assert ROOMS.encode([5, 1, None, 2]).tolist() == [2, 0, -100, 1]
    assert ROOMS.encode(np.array([5.0, 1.0, np.nan, 2.0])).tolist() == [2, 0, -100, 1]
    dense = ROOMS.encode(np.array([[[5, 1], [-100, 2]]]))
    assert dense.tolist() == [[[2, 0], [-100, 1]]]
    assert ROOMS.encode([[5, None], [1, 1]]).tolist() == [[2, -100], [0, 0]]


def test_minus_100_can_be_a_class():
    assert Task("t", "binary", classes=(-100, 100)).encode([100, -100, None]).tolist() == [
        1,
        0,
        -100,
    ]


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        (SOLD, ["yes", "noo"], r"'noo' \(item 1\) is not one of its classes; did you mean 'no'"),
        (SOLD, [1, 0], r"1 \(item 0\).*Expected 'no', 'yes', or a missing label"),
        (ROOMS, np.array([1, 2, 3]), r"3 \(item 2\)"),
        (ROOMS, [[1, 2], [2, 7]], r"7 \(item 1\)"),
        (ROOMS, [1, [2]], r"\[2\] \(item 1\)"),
        (TAGS, [[0, 1, 2]], r"2 \(item 0\)"),
        (TAGS, [[0, 1]], "expected 3 values per item, found 2"),
        (TAGS, [[0, 1, 1], [0, 1]], r"expected 3 values per item, found \[0, 1\] \(item 1\)"),
        (TAGS, [{"red", "gren"}], r"'gren' \(item 0\).*did you mean 'green'"),
        (TAGS, [1, 0], "expected 3 values per item"),
        (PRICE, "abc", "expected a list or array of labels, found str"),
        (PRICE, None, "expected a list or array"),
    ],
)
def test_classification_refuses(task, values, message):
    with pytest.raises(UserError, match=message):
        task.encode(values)


@pytest.mark.parametrize(
    "values",
    [
        [[0, 1, None], None, [1, True, 0]],
        [[0.0, 1, -100], [None] * 3, (1, 1, 0)],
        np.array([[0, 1, np.nan], [np.nan] * 3, [1, 1, 0]]),
        pd.DataFrame({"a": [0, None, 1], "b": [1, None, 1], "c": [None, None, 0]}),
    ],
)
def test_multilabel(values):
    found = TAGS.encode(values)
    assert found.dtype == np.float32
    nan = np.nan
    np.testing.assert_array_equal(found, [[0, 1, nan], [nan] * 3, [1, 1, 0]])


def test_multilabel_sets_of_names():
    found = TAGS.encode([{"red"}, set(), None, frozenset({"blue", "green"})])
    np.testing.assert_array_equal(found, [[1, 0, 0], [0, 0, 0], [np.nan] * 3, [0, 1, 1]])
    one = Task("t", "multilabel", classes=("x",))
    np.testing.assert_array_equal(one.encode([1, None, 0]), [[1], [np.nan], [0]])


def test_several_outputs():
    found = Task("xy", "regression", size=2).encode([[1, None], None, (3, 4.5)])
    np.testing.assert_array_equal(found, [[1, np.nan], [np.nan] * 2, [3, 4.5]])


def test_custom_keeps_numbers():
    task = Task("c", "custom", loss_function=lambda o, t: o[:, 0])
    assert task.encode(np.array([3, -100])).tolist() == [3, -100]
    np.testing.assert_array_equal(task.encode([1, None]), np.array([1, np.nan]))


@pytest.mark.parametrize("task", [PRICE, SOLD, ROOMS, TAGS])
def test_empty(task):
    assert len(task.encode([])) == 0


def test_what_is_encoded_is_what_loss_and_labelled_read():
    assert PRICE.labelled(PRICE.encode([1, None])).tolist() == [True, False]
    assert SOLD.labelled(SOLD.encode(["no", None])).tolist() == [True, False]
    assert TAGS.labelled(TAGS.encode([[None, 1, None], None])).tolist() == [True, False]
    dense = torch.from_numpy(ROOMS.encode([[1, None], [None, None]]))
    assert ROOMS.labelled(dense).tolist() == [[True, False], [False, False]]
    assert PRICE.labelled(torch.tensor([[1.0], [torch.nan]])).tolist() == [True, False]
    assert Task("v", "regression", size=2).labelled(
        torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan]])
    ).tolist() == [True, False]
