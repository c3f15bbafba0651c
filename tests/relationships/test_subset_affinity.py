"""Affinities from gains in groups: means, effects of companions, errors, and what is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from polytask.errors import UserError
from polytask.relationships import subset_affinity

NAMES = ("a", "b", "c", "d", "e")


def groups(seed: int = 0, size: int = 3, noise: float = 1.0):
    """All groups of a size, with additive effects of the companions and noise."""
    chance = np.random.default_rng(seed)
    effects = chance.normal(size=(5, 5))
    results = []
    for members in itertools.combinations(range(5), size):
        gains = {
            NAMES[i]: sum(effects[i, j] for j in members if j != i) + noise * chance.normal()
            for i in members
        }
        results.append((tuple(NAMES[i] for i in members), gains))
    return results, effects


def test_the_mean_is_over_groups_that_hold_both():
    results, _ = groups()
    found = subset_affinity(results)
    assert found.tasks == NAMES
    for i, j in itertools.permutations(NAMES, 2):
        held = [gains[i] for group, gains in results if i in group and j in group]
        assert len(held) == 3
        assert found[i][j] == pytest.approx(np.mean(held), rel=1e-12)
        error = found.standard_errors[NAMES.index(i), NAMES.index(j)]
        assert error == pytest.approx(np.std(held, ddof=1) / np.sqrt(3), rel=1e-12)
    assert (np.diag(found.values) == 0).all()
    assert (np.diag(found.standard_errors) == 0).all()


@pytest.mark.parametrize("shrinkage", [0.1, 1.0, 7.5])
def test_the_regression_is_ridge_regression(shrinkage):
    results, _ = groups(1)
    found = subset_affinity(results, aggregate="regression", shrinkage=shrinkage)
    for i, name in enumerate(NAMES):
        mine = [(group, gains[name]) for group, gains in results if name in group]
        x = np.array([[float(n in group and n != name) for n in NAMES] for group, _ in mine])
        oracle = Ridge(alpha=shrinkage, fit_intercept=False).fit(x, [gain for _, gain in mine])
        others = np.arange(5) != i
        np.testing.assert_allclose(found.values[i, others], oracle.coef_[others], rtol=1e-9)


def test_the_regression_tells_companions_apart():
    results, effects = groups(2, noise=0.0)
    found = subset_affinity(results, aggregate="regression", shrinkage=1e-8)
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(found.values[off], effects[off], atol=1e-6)
    assert (found.standard_errors[off] < 1e-6).all()
    means = subset_affinity(results).values
    assert np.abs(means - effects)[off].max() > 0.1  # means hold what others did, too


def test_errors_of_the_regression_are_those_of_repetitions():
    tables = []
    for seed in range(300):
        chance = np.random.default_rng(seed)
        results = [
            (group, {name: 0.3 * ("b" in group) + chance.normal() for name in group[:1]})
            for group in [("a", "b"), ("a", "c"), ("a", "b", "c"), ("a", "b", "c"), ("a", "b")] * 4
        ]
        one = subset_affinity(results, aggregate="regression", shrinkage=1e-3)
        tables.append((one.values[0, 1], one.standard_errors[0, 1]))
    values, errors = np.array(tables).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)


def test_pairs_seen_too_rarely_are_not_known():
    results = [(("a", "b"), {"a": 0.1, "b": 0.2}), (("a", "b", "c"), {"a": 0.3, "b": None})]
    one = subset_affinity(results)
    assert one["a"] == {"a": 0.0, "b": 0.2, "c": 0.3}
    assert one["b"]["a"] == 0.2
    assert np.isnan(one["b"]["c"])  # its gain in that group is unknown
    assert np.isnan(one["c"]["a"])
    assert np.isnan(one.standard_errors[0, 2])  # one group has no spread
    two = subset_affinity(results, cover=2)
    assert two["a"]["b"] == 0.2
    assert np.isnan(two["a"]["c"])
    assert np.isnan(two["b"]["a"])


def test_a_single_group_leaves_no_freedom():
    found = subset_affinity([(("a", "b"), {"a": 0.5})], aggregate="regression", shrinkage=1e-12)
    assert found["a"]["b"] == pytest.approx(0.5)
    assert np.isnan(found.standard_errors[0, 1])
    halved = subset_affinity([(("a", "b"), {"a": 0.5})], aggregate="regression", shrinkage=1.0)
    assert halved["a"]["b"] == pytest.approx(0.25)


@given(st.integers(0, 1000), st.sampled_from(["mean", "regression"]))
@settings(max_examples=25, deadline=None)
def test_order_plays_no_part(seed, aggregate):
    results, _ = groups(seed)
    chance = np.random.default_rng(seed)
    shuffled = [results[k] for k in chance.permutation(len(results))]
    shuffled = [(tuple(reversed(group)), gains) for group, gains in shuffled]
    one = subset_affinity(results, aggregate=aggregate)
    other = subset_affinity(shuffled, tasks=NAMES, aggregate=aggregate)
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)
    np.testing.assert_allclose(one.standard_errors, other.standard_errors, atol=1e-12)


def test_names_in_another_order_and_words():
    results, _ = groups()
    found = subset_affinity(results, tasks=("e", "d", "c", "b", "a", "f"), measured="so", cost=2)
    assert found["e"]["a"] == subset_affinity(results)["e"]["a"]
    assert np.isnan(found["e"]["f"])
    assert (found.measured, found.cost) == ("so", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"results": []}, "at least one group"),
        ({"results": [(("a", "a"), {})]}, "may hold a task once"),
        ({"results": [(("a",), {"b": 0.1})]}, "which is not in it"),
        ({"results": [(("a", "b"), {"a": np.inf})]}, "infinite"),
        ({"tasks": ("a", "b")}, "unknown task of a group 'c'"),
        ({"aggregate": "median"}, "unknown aggregate 'median'"),
        ({"cover": 0}, "cover must be"),
        ({"cover": True}, "cover must be"),
        ({"shrinkage": 0}, "shrinkage must be"),
    ],
)
def test_what_is_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        subset_affinity(**{"results": groups()[0]} | arguments)
