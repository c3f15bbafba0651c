"""Numbers: rounding by the size of the spread, signs, and no NaN."""

from __future__ import annotations

import math

import pytest

from polytask.report import numbers as n
from polytask.report.numbers import MINUS, THIN, TIMES


@pytest.mark.parametrize(
    ("spread", "decimals"),
    [(1.83, 1), (0.012, 3), (0.0042, 3), (4.2, 0), (3.5, 1), (1200.0, -2), (4000.0, -3)],
)
def test_decimals_keep_one_or_two_digits_of_the_spread(spread: float, decimals: int) -> None:
    assert n.decimals_of(spread) == decimals


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.0, "0 %"),
        (1e-6, "<1 %"),
        (0.0049, "<1 %"),
        (0.006, "1 %"),
        (0.7, "70 %"),
        (0.994, "99 %"),
        (0.996, ">99 %"),
        (1 - 1e-6, ">99 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_none_or_all_only_when_it_is(fraction: float, text: str) -> None:
    assert n.share(fraction) == text


def test_a_column_has_the_precision_of_its_median_spread() -> None:
    assert n.column_decimals([0.9, 0.8, 0.7], [0.012, 0.5, 0.011]) == 3
    assert n.column_decimals([0.8731, 0.91], [None, math.nan]) == 3
    assert n.column_decimals([52_000.0], []) == 0
    assert n.column_decimals([], []) == 0
    assert n.column_decimals([0.5], [0.0]) == 3  # a spread of zero says nothing about precision


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (53214.2, -2, f"53{THIN}200"),
        (-0.74, 1, f"{MINUS}0.7"),
        (-0.04, 1, "0.0"),
        (0.0, 2, "0.00"),
        (2.34e-8, 10, f"2.34{THIN}{TIMES}{THIN}10⁻⁸"),
        (-4.0e12, 0, f"{MINUS}4.0000{THIN}{TIMES}{THIN}10¹²"),
    ],
)
def test_fixed(value: float, decimals: int, text: str) -> None:
    assert n.fixed(value, decimals) == text


def test_a_mean_that_rounds_to_zero_has_no_sign_but_the_end_of_an_interval_keeps_its_own() -> None:
    assert n.signed(0.04, 1) == "0.0"
    assert n.signed(2.44, 1) == "+2.4"
    assert n.bound(0.04, 1) == "+0.04"
    assert n.bound(-0.00001, 1) == f"{MINUS}0.0"
    assert n.bound(0.0, 1) == "0.0"
    assert n.bracket(-0.012, 1.8, 1) == f"[{MINUS}0.01, +1.8]"
    assert n.bracket(None, 1.8, 1) == ""


def test_intervals_in_percent_show_two_digits_of_their_half_width() -> None:
    assert n.interval_decimals([(1.0, -3.0, 5.0), (2.0, -4.0, 6.0)]) == 1
    assert n.interval_decimals([(0.1, -0.1, 0.3)]) == 2
    assert n.interval_decimals([(0.1, 0.0999, 0.1001)]) == 2
    assert n.interval_decimals([(1.0, -90.0, 92.0)]) == 0
    assert n.interval_decimals([(1.234, None, None)]) == 2
    assert n.interval_decimals([]) == 0


def test_plus_minus() -> None:
    assert n.plus_minus(0.8731, 0.0123, 3) == "0.873 ± 0.012"
    assert n.plus_minus(0.8731, None, 3) == "0.873"
    assert n.plus_minus(math.nan, 0.1, 3) == "undefined"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, {"undefined": "why"}, "0.5", True])
def test_what_is_no_number_is_none_and_has_a_reason(value: object) -> None:
    assert n.number(value) is None
    assert n.reason(value)


def test_the_reason_is_the_recorded_one() -> None:
    assert n.reason({"undefined": "one class only"}) == "one class only"
    assert n.reason(1.5) is None


def test_small_units() -> None:
    assert n.ratio(1.04) == f"1.0{TIMES}"
    assert n.ratio(18.2) == f"18{TIMES}"
    assert n.ratio(0.62) == f"0.62{TIMES}"
    assert n.memory(312.4) == "312 MB"
    assert n.memory(2140) == "2.1 GB"
    assert n.duration(41.7) == "42 s"
    assert n.duration(214.6) == "3 min 35 s"
    assert n.duration(7500) == "2 h 5 min"
    assert n.p_value(0.00002) == "p < 0.001"
    assert n.p_value(0.004) == "p = 0.004"
    assert n.p_value(0.0312) == "p = 0.03"
    assert n.p_value(None) == ""
    assert n.plural(1, "seed") == "1 seed"
    assert n.plural(21_613, "row") == f"21{THIN}613 rows"
