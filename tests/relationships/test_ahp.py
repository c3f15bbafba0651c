"""Affinities of sources from who wins against whom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eig

from polytask.errors import UserError
from polytask.relationships import ahp


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=12))
def test_strengths_come_back_exactly(strengths) -> None:
    s = np.array(strengths)
    found = ahp(s[:, None] / (s[:, None] + s))
    np.testing.assert_allclose(found, s / s.sum(), rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_equal_sources_share_equally(size) -> None:
    np.testing.assert_allclose(ahp(np.full((size, size), 0.5)), 1 / size, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_it_is_the_principal_eigenvector_of_the_odds(size, seed) -> None:
    draw = np.random.default_rng(seed)
    wins = np.triu(draw.random((size, size)), 1)
    wins += np.tril(1 - wins.T, -1)
    found = ahp(wins)
    assert found.shape == (size,)
    assert (found > 0).all()
    assert found.sum() == pytest.approx(1)
    np.fill_diagonal(wins, 0.5)
    odds = np.clip(wins, 0.001, 0.999) / np.clip(wins, 0.001, 0.999).T
    largest = max(eig(odds, right=False).real)
    np.testing.assert_allclose(odds @ found, largest * found, rtol=1e-7, atol=1e-9)
    order = draw.permutation(size)
    np.testing.assert_allclose(ahp(wins[np.ix_(order, order)]), found[order], rtol=1e-6, atol=1e-9)


def test_who_always_wins_has_finite_odds() -> None:
    wins = np.array([[0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(ahp(wins), [0.999, 0.001], rtol=1e-9)
    np.testing.assert_allclose(ahp(wins, clip=0.1), [0.9, 0.1], rtol=1e-9)


def test_the_diagonal_is_not_used_and_the_argument_is_left_alone() -> None:
    wins = np.array([[np.nan, 0.7], [0.3, 5.0]])
    kept = wins.copy()
    np.testing.assert_allclose(ahp(wins), [0.7, 0.3], rtol=1e-9)
    np.testing.assert_array_equal(wins, kept)


@pytest.mark.parametrize(
    ("wins", "clip", "message"),
    [
        (np.zeros((2, 3)), 0.001, r"a square table \[S, S\], found shape \[2, 3\]"),
        (np.zeros((0, 0)), 0.001, r"found shape \[0, 0\]"),
        ([0.5], 0.001, r"found shape \[1\]"),
        ([["x"]], 0.001, "a square table of numbers"),
        ([[0.5, 1.5], [0.5, 0.5]], 0.001, r"shares within \[0, 1\]"),
        ([[0.5, np.nan], [0.5, 0.5]], 0.001, r"shares within \[0, 1\]"),
        ([[0.5]], 0.0, "above 0 and below 0.5"),
        ([[0.5]], 0.5, "above 0 and below 0.5"),
    ],
)
def test_what_is_no_table_of_shares_is_refused(wins, clip, message) -> None:
    with pytest.raises(UserError, match=message):
        ahp(wins, clip)
