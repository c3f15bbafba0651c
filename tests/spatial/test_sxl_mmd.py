"""Two-sample scores against direct sums, known values and properties."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor

from polytask.errors import UserError
from polytask.spatial import mmd2, nearest_neighbour_test


def direct(x: Tensor, y: Tensor, alpha: float, estimator: str) -> float:
    """The double sums of Gretton et al. 2012, eq. 3, 4 and 5, item by item."""

    def kernel(a: Tensor, b: Tensor) -> float:
        distance = sum(
            (float(p) - float(q)) ** 2 for p, q in zip(a.ravel(), b.ravel(), strict=True)
        )
        return math.exp(-alpha * distance)

    def mean(first: Tensor, second: Tensor, apart: bool) -> float:
        pairs = [
            kernel(first[i], second[j])
            for i, j in itertools.product(range(len(first)), range(len(second)))
            if not (apart and i == j)
        ]
        return sum(pairs) / len(pairs)

    within, between = estimator != "biased", estimator == "u_statistic"
    return mean(x, x, within) + mean(y, y, within) - 2 * mean(x, y, between)


@pytest.mark.parametrize("estimator", ["unbiased", "u_statistic", "biased"])
@pytest.mark.parametrize("alpha", [0.05, 1.0])
def test_it_is_the_direct_double_sum(estimator: Any, alpha: float) -> None:
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(7, 1, 2, 3, generator=stream)
    y = torch.randn(7, 1, 2, 3, generator=stream) + 0.5
    expected = direct(x, y, alpha, estimator)
    assert mmd2(x, y, alpha, estimator) == pytest.approx(expected, rel=1e-12, abs=1e-14)
    if estimator != "u_statistic":
        expected = direct(x, y[:4], alpha, estimator)
        assert mmd2(x, y[:4], alpha, estimator) == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_at_one_size_it_is_the_published_formula() -> None:
    """beta (sum K - trace K + sum L - trace L) - gamma sum P with 1/(B (B - 1)) and 2/B²."""
    stream = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 6, 4, generator=stream, dtype=torch.float64)
    K, L, P = (torch.exp(-torch.cdist(a, b).square()) for a, b in ((x, x), (y, y), (x, y)))
    published = (K.sum() - K.trace() + L.sum() - L.trace()) / 30 - 2 * P.sum() / 36
    assert mmd2(x, y) == pytest.approx(float(published), abs=1e-14)


def test_known_values() -> None:
    """Two points a distance 1 apart, each twice: 1 + 1 - 2/e; copies of one sample: 0."""
    x, y = torch.zeros(2, 1), torch.ones(2, 1)
    for estimator in ("unbiased", "u_statistic", "biased"):
        assert mmd2(x, y, 1.0, estimator) == pytest.approx(2 - 2 / math.e)
    sample = torch.arange(5.0)[:, None]
    assert mmd2(sample, sample, 1.0, "biased") == pytest.approx(0, abs=1e-15)
    assert mmd2(sample, sample, 1.0, "u_statistic") == pytest.approx(0, abs=1e-15)


def test_small_differences_of_large_values_count() -> None:
    """Distances are taken of differences, so values of 1e6 lose nothing."""
    x, y = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert mmd2(x + 1e6, y + 1e6) == pytest.approx(mmd2(x, y), rel=1e-8)


def test_unbiased_is_zero_on_average_and_biased_is_not() -> None:
    stream = torch.Generator().manual_seed(3)
    found: dict[str, list[float]] = {"unbiased": [], "u_statistic": [], "biased": []}
    for _ in range(400):
        x, y = torch.randn(2, 8, 2, generator=stream)
        for name, values in found.items():
            values.append(mmd2(x, y, 0.5, name))  # type: ignore[arg-type]
    for name, values in found.items():
        error = np.std(values) / math.sqrt(len(values))
        assert (abs(np.mean(values)) < 4 * error) == (name != "biased"), name


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000))
def test_properties(n: int, m: int, seed: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 3, generator=stream), torch.randn(m, 3, generator=stream)
    assert mmd2(x, y) == pytest.approx(mmd2(y, x), abs=1e-14)
    assert mmd2(x, y) == pytest.approx(mmd2(x.flip(0), y), abs=1e-14)
    assert mmd2(x, y, 1.0, "biased") >= -1e-14


def test_median_kernel_does_not_depend_on_units() -> None:
    real = torch.from_numpy(load_digits().images[:40])
    other = real.flip(0).roll(2, dims=2)
    expected = 1 / float(torch.pdist(real.flatten(1)).square().median())
    found = mmd2(real, other, "median")
    assert found == pytest.approx(mmd2(real, other, expected), abs=1e-14)
    assert found == pytest.approx(mmd2(real * 1e3, other * 1e3, "median"), abs=1e-12)
    assert found > 0.05


def test_neighbours_tell_different_samples_and_not_equal_ones() -> None:
    images = torch.from_numpy(load_digits().images)
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    noise = torch.rand(400, 8, 8, generator=torch.Generator().manual_seed(0)) * 16
    assert nearest_neighbour_test(images[:400], noise) == 0
    same = nearest_neighbour_test(images[:400], images[400:900], seed=1)
    assert 0.4 < same <= 0.5
    assert same == nearest_neighbour_test(images[:400], images[400:900], seed=1)
    # Every test item is a copy of a training item of the other kind.
    copied = nearest_neighbour_test(images[:400], images[:400] + 1e-9, capped=False)
    assert nearest_neighbour_test(images[:400], images[:400] + 1e-9) == min(copied, 0.5)


def test_neighbours_agree_with_a_direct_search() -> None:
    stream = torch.Generator().manual_seed(4)
    real, generated = torch.randn(12, 2, generator=stream), torch.randn(12, 2, generator=stream) + 1
    rng = np.random.default_rng(5)
    orders = [rng.permutation(12), rng.permutation(12)]
    train = [(s[i], label) for s, o, label in zip((real, generated), orders, (1, 0), strict=True)
             for i in o[:6]]  # fmt: skip
    wrong = 0
    for sample, order, label in zip((real, generated), orders, (1, 0), strict=True):
        for i in order[6:]:
            nearest = min(train, key=lambda known, i=i, s=sample: float((known[0] - s[i]).norm()))
            wrong += nearest[1] != label
    assert nearest_neighbour_test(real, generated, seed=5, capped=False) == wrong / 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(1, 2), torch.zeros(3, 2)), "first sample should be .* at least 2 items"),
        ((torch.zeros(3, 2), torch.zeros(3, 4)), "one shape"),
        ((torch.zeros(3, 2), torch.full((3, 2), torch.nan)), "second sample holds values"),
        ((torch.zeros(3, 2), torch.zeros(4, 2), 1.0, "u_statistic"), "as many of both"),
        ((torch.zeros(3, 2), torch.zeros(3, 2), 0.0), "alpha must be a finite number above 0"),
        ((torch.zeros(3, 2), torch.zeros(3, 2), "mean"), "or 'median', found 'mean'"),
        ((torch.zeros(3, 2), torch.zeros(3, 2), "median"), "median distance is 0"),
        ((torch.zeros(3, 2), torch.zeros(3, 2), 1.0, "baised"), "did you mean 'biased'"),
    ],
)
def test_samples_that_cannot_be_compared(arguments: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        mmd2(*arguments)


def test_neighbours_need_four_items() -> None:
    with pytest.raises(UserError, match="at least 4 items"):
        nearest_neighbour_test(torch.zeros(3, 2), torch.zeros(9, 2))
