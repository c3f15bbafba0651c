"""Ranks over data sets: ties, and the test against SciPy's and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from polytask.report.ranks import mean_ranks, rank_test, ranks


def test_the_largest_is_first_and_equals_share_their_places() -> None:
    assert ranks([0.3, 2.0, -1.0]) == [2.0, 1.0, 3.0]
    assert ranks([1.0, 2.0, 1.0, 1.0]) == [3.0, 1.0, 3.0, 3.0]
    assert mean_ranks([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]) == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("rounding", [6, 0])
def test_the_test_is_friedmans_in_its_f_form_also_under_ties(rounding: int) -> None:
    draw = np.random.default_rng(1)
    rows = np.round(draw.normal([0.0, 0.4, 0.8, 1.2], size=(9, 4)), rounding)
    found = rank_test(rows.tolist())
    assert found is not None
    statistic = stats.friedmanchisquare(*rows.T).statistic
    form = (9 - 1) * statistic / (9 * (4 - 1) - statistic)
    assert found.p == pytest.approx(stats.f.sf(form, 3, 3 * 8))


def test_the_critical_difference_is_that_of_the_published_table() -> None:
    # Demšar (2006): q = 2.569 for 4 classifiers, CD = 1.25 on 14 data sets.
    rows = np.random.default_rng(0).normal(size=(14, 4)).tolist()
    found = rank_test(rows)
    assert found is not None
    assert found.critical == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), rel=1e-3)
    assert (found.sets, found.methods) == (14, 4)


def test_no_test_where_none_could_find_anything() -> None:
    assert rank_test([]) is None
    assert rank_test([[1.0, 2.0, 3.0]] * 4) is None
    assert rank_test([[1.0, 2.0]] * 9) is None
    assert rank_test([[1.0, 1.0, 1.0]] * 9) is None


def test_one_order_everywhere_has_the_probability_of_a_coincidence() -> None:
    found = rank_test([[1.0, 2.0, 3.0]] * 5)
    assert found is not None
    assert found.p == pytest.approx(6.0**-4)
    assert found.significant


def test_unrelated_methods_are_rarely_told_apart() -> None:
    draw = np.random.default_rng(5)
    found = [rank_test(draw.normal(size=(7, 5)).tolist()) for _ in range(200)]
    share = np.mean([test is not None and test.significant for test in found])
    assert 0.01 < share < 0.1  # 5 % but for the discreteness of ranks
