"""The statistics against closed forms, scipy, hand values and invariants."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polytask.study import statistics as s

RNG = np.random.default_rng(0)
numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 6))


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_without_correction_is_the_t_test_of_scipy(n):
    d = RNG.normal(0.4, 1.0, n)
    ours, theirs = s.paired_interval(list(d)), stats.ttest_1samp(d, 0.0)
    low, high = theirs.confidence_interval(0.95)
    assert ours.mean == pytest.approx(d.mean())
    assert (ours.low, ours.high) == pytest.approx((low, high))
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.n == n


def test_redrawn_splits_widen_by_nadeau_and_bengio():
    d = [1.0, 2.0, 4.0, 3.0, 2.5]
    plain, corrected = s.paired_interval(d), s.paired_interval(d, redrawn=150 / 700)
    widening = math.sqrt((1 / 5 + 150 / 700) / (1 / 5))
    assert corrected.high - corrected.mean == pytest.approx((plain.high - plain.mean) * widening)
    t = corrected.mean / math.sqrt(np.var(d, ddof=1) * (1 / 5 + 150 / 700))
    assert corrected.p == pytest.approx(2 * stats.t.sf(t, 4))
    assert corrected.p > plain.p


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draws = RNG.normal(1.5, 2.0, (4000, 6))
    covered = [(i := s.paired_interval(list(row))).low <= 1.5 <= i.high for row in draws]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


def test_one_or_no_difference_has_no_interval():
    assert s.paired_interval([]) == s.Interval(None, None, None, None, 0)
    assert s.paired_interval([2.0]) == s.Interval(2.0, None, None, None, 1)


def test_equal_differences_have_no_spread():
    assert s.paired_interval([0.0, 0.0, 0.0]).p == 1.0
    assert s.paired_interval([0.3, 0.3, 0.3]).p == 0.0


@given(st.lists(numbers, min_size=2, max_size=8), st.randoms())
def test_interval_ignores_order_and_mirrors_sign(d, random):
    shuffled = random.sample(d, len(d))
    a, b, mirrored = (s.paired_interval(x) for x in (d, shuffled, [-x for x in d]))
    assert (a.mean, a.low, a.p) == pytest.approx((b.mean, b.low, b.p), abs=1e-9)
    assert (a.mean, a.low, a.high) == pytest.approx(
        (-mirrored.mean, -mirrored.high, -mirrored.low), abs=1e-9
    )
    assert a.p == pytest.approx(mirrored.p)


def test_holm_hand_values():
    # sorted .005 .01 .03 .04 -> *4 .02, *3 .03, *2 .06, *1 .04 raised to .06
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert s.holm([0.02]) == [0.02]
    assert s.holm([]) == []


def test_holm_leaves_out_what_is_unknown():
    assert s.holm([None, 0.02, None, 0.03]) == [
        None,
        pytest.approx(0.04),
        None,
        pytest.approx(0.04),
    ]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_value_and_bonferroni_and_keeps_order(p):
    adjusted = s.holm(p)
    for raw, a in zip(p, adjusted, strict=True):
        assert raw <= a <= min(1.0, raw * len(p)) + 1e-12
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def test_gain_is_positive_when_better_for_both_directions():
    assert s.gains([0.9], [0.8], "max") == pytest.approx([12.5])
    assert s.gains([0.9], [0.8], "min") == pytest.approx([-12.5])
    assert s.gains([-1.0], [-2.0], "max") == pytest.approx([50.0])  # negative scores too


def test_mean_gain_is_the_relative_change_of_the_means():
    scores, singles = [0.70, 0.80, 0.90], [0.60, 0.85, 0.80]
    direct = 100 * (np.mean(scores) - np.mean(singles)) / np.mean(singles)
    assert np.mean(s.gains(scores, singles, "max")) == pytest.approx(direct)


def test_gain_is_missing_where_a_score_is_missing_or_the_reference_is_zero():
    assert s.gains([1.0, None, 1.0], [2.0, 2.0, None], "min") == [pytest.approx(50.0), None, None]
    assert s.gains([1.0], [0.0], "min") == [None]
    assert s.gains([1.0, 2.0], [None, None], "min") == [None, None]


def test_gain_does_not_depend_on_the_unit():
    a = s.gains([3.0, 4.0], [5.0, 4.5], "min")
    assert s.gains([3000.0, 4000.0], [5000.0, 4500.0], "min") == pytest.approx(a)


@given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=9))
def test_ranks_are_those_of_scipy(values):
    assert s.ranks(values, "min") == pytest.approx(list(stats.rankdata(values)))
    assert s.ranks(values, "max") == pytest.approx(list(stats.rankdata([-v for v in values])))


def test_mean_rank_over_tasks_with_ties_and_gaps():
    scores = {
        "a": {"x": 0.9, "y": 1.0},
        "b": {"x": 0.9, "y": 2.0},
        "c": {"x": 0.5, "y": None},
    }
    found = s.mean_ranks(scores, {"x": "max", "y": "min"})
    assert found == {"a": pytest.approx(1.25), "b": pytest.approx(1.75), "c": pytest.approx(3.0)}


def test_spread():
    assert s.spread([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1)))
    assert s.spread([3.0]) == (3.0, None)
    assert s.spread([]) == (None, None)


@pytest.mark.parametrize(
    ("differences", "p", "expected"),
    [
        ([1, 2, 1, 2, 1], 0.049, "helps"),
        ([-1, -2, -1, -2, -1], 0.01, "hurts"),
        ([1, 2, 1, 2, 1], 0.05, "no evidence"),
        ([1, 2, 1, 2], 0.0001, "leans helps"),  # four seeds never decide
        ([-1, -2], 0.5, "leans hurts"),
        ([1, -2, 1], 0.5, "no evidence"),
        ([1, 0, 1], 0.5, "no evidence"),
        ([-3], None, "leans hurts"),
        ([0.0], None, "no evidence"),
        ([], None, "undefined"),
    ],
)
def test_words(differences, p, expected):
    assert s.word(differences, p) == expected
