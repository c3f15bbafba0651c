"""Affinities from losses on held-out items: who wins how often, in whatever unit of loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.errors import UserError
from polytask.relationships import ahp, transfer_affinity, transfer_policy

NAMES = ("a", "b", "c")


def drawn(seed: int, items: int = 200, quality=(0.0, 0.3, 1.0)) -> dict[str, np.ndarray]:
    """Losses of three sources on the same items, larger on average for later ones."""
    draw = np.random.default_rng(seed)
    hard = draw.gamma(2.0, size=items)
    return {
        n: hard * np.exp(q + draw.normal(size=items)) for n, q in zip(NAMES, quality, strict=True)
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_it_is_ahp_of_the_shares_won(seed, items) -> None:
    losses = {n: np.round(v, 1) for n, v in drawn(seed, items).items()}  # with some ties
    wins = np.zeros((3, 3))
    for i, one in enumerate(losses.values()):
        for j, other in enumerate(losses.values()):
            for x, y in zip(one, other, strict=True):
                wins[i, j] += (1.0 if x < y else 0.5 if x == y else 0.0) / items
    found = transfer_affinity({"a": losses})
    assert found.tasks == NAMES
    expected = ahp(np.clip(wins, 0, 1))
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-9)
    assert found.values[0].sum() == pytest.approx(1)
    assert np.isnan(found.values[1:]).all()


def test_the_unit_and_the_hardness_of_items_do_not_matter() -> None:
    losses = drawn(0)
    hard = np.random.default_rng(9).gamma(1.0, size=200)
    told = transfer_affinity({"a": losses, "b": {n: 1e-3 * hard * v for n, v in losses.items()}})
    np.testing.assert_allclose(told.values[0], told.values[1], rtol=1e-12)
    assert told["a"]["a"] > told["a"]["b"] > told["a"]["c"] > 0


def test_rows_are_targets_and_columns_sources() -> None:
    better, worse = np.arange(10.0), np.arange(10.0) + 1
    found = transfer_affinity(
        {"a": {"a": better, "b": worse}, "b": {"b": worse[:5], "a": better[:5]}, "c": {"a": worse}}
    )
    assert found.tasks == NAMES
    np.testing.assert_allclose(found.values[0, :2], [0.999, 0.001])
    np.testing.assert_allclose(found.values[1, :2], [0.999, 0.001])
    assert found["c"]["a"] == 1.0
    assert np.isnan([found["a"]["c"], found["c"]["c"], found["c"]["b"]]).all()
    np.testing.assert_array_equal(found.standard_errors[:2, :2], 0.0)
    policy = transfer_policy(found, 1)
    assert policy.supervised == ("a",)


def test_sources_that_are_alike_share_equally() -> None:
    same = np.random.default_rng(0).random(30)
    found = transfer_affinity({"a": dict.fromkeys(NAMES, same)})
    np.testing.assert_allclose(found.values[0], 1 / 3)
    noise = np.random.default_rng(1).random((2, 4000))
    found = transfer_affinity({"a": {"a": noise[0], "b": noise[1]}})
    assert abs(found["a"]["a"] - 0.5) < 4 * found.standard_errors[0, 0]


def test_errors_are_the_spread_over_other_items() -> None:
    found = [transfer_affinity({"a": drawn(seed, 150)}) for seed in range(80)]
    spread = np.std([f.values[0] for f in found], axis=0, ddof=1)
    told = np.sqrt(np.mean([f.standard_errors[0] ** 2 for f in found], axis=0))
    np.testing.assert_allclose(told / spread, 1.0, atol=0.3)


def test_the_seed_draws_groups_and_nothing_else() -> None:
    first, again, other = (transfer_affinity({"a": drawn(2)}, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.values, other.values)
    np.testing.assert_array_equal(first.standard_errors, again.standard_errors)
    assert not np.array_equal(first.standard_errors[0], other.standard_errors[0])


def test_items_without_a_label_are_left_out() -> None:
    losses = drawn(3)
    known = np.arange(200) % 3 > 0
    missing = {n: np.where(known, v, np.nan) for n, v in losses.items()}
    found = transfer_affinity({"a": missing, "b": {"a": [np.nan, np.nan]}})
    kept = transfer_affinity({"a": {n: v[known] for n, v in losses.items()}})
    np.testing.assert_array_equal(found.values[0], kept.values[0])
    assert np.isnan(found.values[1]).all()
    # A loss that is not finite is the largest of all, and no missing label.
    failed = dict(losses, a=np.full(200, np.inf))
    assert transfer_affinity({"a": failed})["a"]["a"] < 0.001
    one = transfer_affinity({"a": {"a": [1.0], "b": [2.0]}})
    assert np.isnan(one.standard_errors[0]).all()
    assert one["a"]["a"] == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({}, {}, "found an empty one"),
        ([1], {}, "found list"),
        ({"a": {}}, {}, "of 'a': expected at least one source"),
        ({"a": [1.0]}, {}, "of 'a': expected at least one source"),
        ({"a": {"a": ["x"]}}, {}, "of 'a': expected numbers"),
        ({"a": {"a": [1.0], "b": [1.0, 2.0]}}, {}, "of the same items"),
        ({"a": {"a": [[1.0]]}}, {}, "of the same items"),
        ({"a": {"a": 1.0}}, {}, "of the same items"),
        ({"a": {"a": [1.0], "b": [np.nan]}}, {}, "NaN for some sources and not for others"),
        ({"a": {"a": [1.0]}}, {"clip": 0.5}, "clip: expected a number above 0"),
    ],
)
def test_losses_that_are_none(given, options, message) -> None:
    with pytest.raises(UserError, match=message):
        transfer_affinity(given, **options)
