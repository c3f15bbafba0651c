"""What a column holds and which kind of target it asks for."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from polytask.data import infer_kind
from polytask.data._content import content
from polytask.errors import UserError


def series(*values: object, name: str = "y", **options: object) -> pd.Series:
    return pd.Series(list(values), name=name, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("values", "kind", "ambiguous"),
    [
        ([True, False, True], "binary", False),
        ([True, None, False], "binary", False),
        ([0, 1, 1, 0], "binary", False),
        ([0.0, 1.0, np.nan], "binary", False),
        (["yes", "no", None], "binary", False),
        ([1.5, 2.5, 1.5], "binary", True),
        (["a", "b", "c"], "multiclass", False),
        ([1.5, 2.25, 3.0], "regression", False),
        (["1.5", "2.25", "3"], "regression", False),
        (list(range(3)), "multiclass", True),
        (list(range(10)), "multiclass", True),
        (list(range(11)), "regression", True),
        (list(range(20)), "regression", True),
        (list(range(21)), "regression", False),
        ([0, 1, -100], "binary", True),
        ([0, 1, 2, -100], "multiclass", True),
        ([-100, -50, 0, 50], "multiclass", True),
        ([Decimal("1.5"), Decimal("2.5"), 3], "regression", False),
    ],
)
def test_kinds(values: list[object], kind: str, ambiguous: bool) -> None:
    found = infer_kind(series(*values))
    assert (found.kind, found.ambiguous) == (kind, ambiguous)


def test_real_columns(wine: pd.DataFrame, diabetes: pd.DataFrame) -> None:
    assert infer_kind(wine["cultivar"]).kind == "multiclass"
    assert infer_kind(wine["alcohol"]) == infer_kind(wine["alcohol"].astype("float32"))
    assert infer_kind(diabetes["progression"]).kind == "regression"
    assert infer_kind(diabetes["sex"]).kind == "binary"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, np.nan, None], "target 'y' has no labels: all 3 values are missing"),
        (["", "  "], "has no labels"),
        ([3, 3, np.nan], "target 'y' is constant: every label is '3'"),
        (["a", "a"], "is constant: every label is 'a'"),
        ([np.inf, 1, 1], "is constant"),
        ([1, 1, -100], "constant: every label is 1 or the mark -100"),
        ([dt.date(2020, 1, 1), dt.date(2020, 1, 2)], "holds dates"),
        (["2020-01-01", "2020-01-02"], "holds dates"),
        ([[1], [2]], "holds values of type list"),
        ([1j, 2j], "holds complex numbers"),
        ([f"id{i}" for i in range(101)], "101 different labels; expected at most 100"),
        ([*range(30), "n/a?"], r"numbers and 'n/a\?' \(31 distinct values\)"),
    ],
)
def test_targets_that_cannot_be_learned(values: list[object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        infer_kind(series(*values))


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (series(1, 2, None, dtype="Int64"), "number"),
        (series(True, None, dtype="boolean"), "boolean"),
        (series("a", "b", dtype="category"), "text"),
        (series(1, 2, dtype="category"), "text"),
        (series("12", "abc"), "mixed"),
        (series("12", 12.5, None), "number"),
        (series(12, "abc"), "mixed"),
        (series("2020-01-01", "2020-01-02T10:30:00Z", ""), "date"),
        (series("2020-01-01", "2020-99-99"), "text"),
        (series("01/02/2020", "03/04/2020"), "text"),
        (pd.Series(pd.date_range("2020", periods=3, tz="Asia/Tokyo")), "date"),
        (pd.Series(pd.to_timedelta([1, 2], unit="D")), "duration"),
        (pd.Series(pd.period_range("2020", periods=3, freq="M")), "date"),
        (series((1, 2), (3, 4)), "nested"),
        (series(None, "", " "), "empty"),
    ],
)
def test_content(column: pd.Series, what: str) -> None:
    assert content(column).what == what


def test_content_values_are_plain() -> None:
    assert content(series("12", "12.5", "")).values.tolist()[:2] == [12.0, 12.5]
    hours = content(pd.Series(pd.to_timedelta([12, 36], unit="h"))).values
    assert hours.tolist() == [0.5, 1.5]
    tokyo = content(pd.Series(pd.DatetimeIndex(["2020-01-01 09:00"]).tz_localize("Asia/Tokyo")))
    assert tokyo.values[0] == pd.Timestamp("2020-01-01")
