"""LEEP, H-score and LogME: closed forms, bounds, invariances, a brute-force maximum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax
from scipy.stats import f_oneway, multivariate_normal
from sklearn.datasets import load_digits, load_wine

from polytask.errors import UserError
from polytask.relationships import h_score, leep, logme


def shares(seed: int, rows: int, classes: int) -> np.ndarray:
    return softmax(2 * np.random.default_rng(seed).normal(size=(rows, classes)), axis=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_leep_is_the_likelihood_of_the_empirical_predictor(seed, rows, sources, targets) -> None:
    t = shares(seed, rows, sources)
    y = np.random.default_rng(seed).integers(targets, size=rows)
    total = 0.0
    for i in range(rows):
        likelihood = 0.0
        for z in range(sources):
            joint = sum(t[k, z] for k in range(rows) if y[k] == y[i]) / rows
            likelihood += joint / (t[:, z].sum() / rows) * t[i, z]
        total += np.log(likelihood) / rows
    found = leep(t, y)
    assert found == pytest.approx(min(total, 0.0), abs=1e-9)
    assert found <= 0
    order = np.random.default_rng(seed).permutation(sources)
    assert leep(t[:, order], y) == pytest.approx(found, abs=1e-12)


def test_leep_at_the_ends() -> None:
    y = np.array([0, 1, 2, 2, 1, 0])
    assert leep(np.eye(3)[y], y) == 0.0
    assert leep(np.eye(4)[3 - y], list("abccba")) == 0.0
    entropy = np.log(3)
    assert leep(np.full((6, 5), 0.2), y) == pytest.approx(-entropy)
    assert leep(np.eye(6), y) == 0.0
    unused = np.c_[np.eye(3)[y], np.zeros(6)]
    assert leep(unused, y) == 0.0


def formula(features: np.ndarray, labels: np.ndarray) -> float:
    means = np.stack([features[labels == c].mean(0) for c in labels])
    spread = np.cov(features.T, ddof=0).reshape(features.shape[1], -1)
    between = np.cov(means.T, ddof=0).reshape(spread.shape)
    return float(np.trace(np.linalg.pinv(spread, hermitian=True) @ between))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(12, 40), st.integers(1, 6), st.integers(1, 4))
def test_h_score_is_its_formula(seed, rows, width, classes) -> None:
    draw = np.random.default_rng(seed)
    labels = draw.integers(classes, size=rows)
    features = draw.normal(size=(rows, width)) + labels[:, None] * draw.normal(size=width)
    found = h_score(features, labels)
    assert found == pytest.approx(formula(features, labels), rel=1e-6, abs=1e-9)
    assert -1e-9 <= found <= min(width, len(np.unique(labels)) - 1) + 1e-9
    moved = features @ (draw.normal(size=(width, width)) + 3 * np.eye(width)) + 5
    assert h_score(moved, labels) == pytest.approx(found, rel=1e-5, abs=1e-9)


def test_h_score_of_one_feature_is_that_of_an_analysis_of_variance() -> None:
    data = load_wine()
    for column in range(3):
        x = data.data[:, column]
        share = h_score(x[:, None], data.target)
        f = f_oneway(*(x[data.target == c] for c in range(3))).statistic
        assert share / 2 / ((1 - share) / (len(x) - 3)) == pytest.approx(f)


def test_h_score_at_the_ends() -> None:
    labels = np.arange(12) % 3
    assert h_score(np.eye(3)[labels], labels) == pytest.approx(2)
    assert h_score(np.ones((12, 4)), labels) == 0
    assert h_score(np.random.default_rng(0).normal(size=(12, 2)), ["same"] * 12) < 1e-12
    twice = np.c_[np.eye(3)[labels], np.eye(3)[labels], np.full(12, 1 / 3)]
    assert h_score(twice, labels) == pytest.approx(2)


def brute(features: np.ndarray, target: np.ndarray) -> float:
    """The largest log evidence, from many starts, by the density of the targets."""

    def negative(logs):
        cov = features @ features.T * np.exp(-logs[0]) + np.eye(len(target)) * np.exp(-logs[1])
        return -multivariate_normal(np.zeros(len(target)), cov).logpdf(target)

    starts = [(a, b) for a in (-4.0, 0.0, 4.0) for b in (-2.0, 2.0)]
    options = {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}
    found = [minimize(negative, s, method="Nelder-Mead", options=options) for s in starts]
    return -min(one.fun for one in found)


@pytest.mark.parametrize(("rows", "width"), [(25, 4), (12, 20), (30, 1)])
def test_logme_is_the_largest_evidence(rows, width) -> None:
    draw = np.random.default_rng(rows)
    features = draw.normal(size=(rows, width))
    target = features @ draw.normal(size=width) + 1.5 * draw.normal(size=rows)
    found = logme(features, target, regression=True)
    assert found == pytest.approx(brute(features, target) / rows, abs=1e-6)
    two = np.c_[target, draw.normal(size=rows)]
    each = [logme(features, column, regression=True) for column in two.T]
    assert logme(features, two, regression=True) == pytest.approx(np.mean(each))


def test_logme_of_classes_is_the_mean_over_their_columns() -> None:
    draw = np.random.default_rng(0)
    labels = np.array(list("abc"))[draw.integers(3, size=30)]
    features = draw.normal(size=(30, 5)) + (labels == "a")[:, None]
    columns = [(labels == c).astype(float) for c in "abc"]
    expected = np.mean([brute(features, column) / 30 for column in columns])
    assert logme(features, labels) == pytest.approx(expected, abs=1e-6)


def test_logme_is_that_of_noise_where_features_say_nothing() -> None:
    y = np.random.default_rng(1).normal(size=50)
    noise = multivariate_normal(np.zeros(50), np.eye(50) * (y**2).mean()).logpdf(y) / 50
    assert logme(np.zeros((50, 3)), y, regression=True) == pytest.approx(noise)
    off = np.random.default_rng(2).normal(size=(50, 1))
    off -= y[:, None] * (off.T @ y) / (y @ y)
    assert logme(off, y, regression=True) == pytest.approx(noise, abs=1e-6)
    # Turning and scaling features changes nothing.
    z = np.random.default_rng(3).normal(size=(50, 4)) + y[:, None]
    turned = 1e3 * z @ np.linalg.qr(np.random.default_rng(4).normal(size=(4, 4)))[0]
    assert logme(turned, y, regression=True) == pytest.approx(logme(z, y, regression=True))
    assert np.isfinite(logme(np.eye(50), y, regression=True))
    assert np.isfinite(logme(np.c_[y, y + 1], y, regression=True))


def test_on_real_digits_better_features_score_higher() -> None:
    data = load_digits()
    x, y = data.data[:400], data.target[:400]
    noisy = x + np.random.default_rng(0).normal(scale=30, size=x.shape)
    for score in (h_score, logme):
        assert score(x, y) > score(noisy, y)
    blurred = 0.5 * np.eye(10)[y] + 0.05
    assert leep(np.eye(10)[y], y) > leep(blurred, y) > leep(np.full((400, 10), 0.1), y)


@pytest.mark.parametrize(
    ("score", "arguments", "options", "message"),
    [
        (leep, ([[0.5, 0.6]], [0]), {}, "rows that are at least 0 and sum to 1"),
        (leep, ([[-0.5, 1.5]], [0]), {}, "rows that are at least 0"),
        (leep, ([[0.5, 0.5]], [0, 1]), {}, r"labels: expected 1, one a row, found shape \[2\]"),
        (leep, ([0.5, 0.5], [0, 1]), {}, r"probabilities: expected shape \[n, columns\]"),
        (h_score, ([["x"]], [0]), {}, "features: expected a table of numbers"),
        (h_score, ([[np.nan]], [0]), {}, "features: expected finite numbers"),
        (h_score, ([[1.0]], [np.nan]), {}, "a class for every row, found NaN"),
        (h_score, (np.zeros((0, 2)), []), {}, "at least one of each"),
        (logme, ([[1.0], [2.0]], [0.0, 0.0]), {"regression": True}, "more than zeros"),
        (logme, ([[1.0], [2.0]], [0.0]), {"regression": True}, "expected 2, one a row, found 1"),
        (logme, ([[1.0]], [[0, 1]]), {}, r"found shape \[1, 2\]"),
    ],
)
def test_what_cannot_be_scored(score, arguments, options, message) -> None:
    with pytest.raises(UserError, match=message):
        score(*arguments, **options)
