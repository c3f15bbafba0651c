"""RSA and linear CKA: their invariances, textbook formulas as oracles, what is undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group, spearmanr

from polytask.errors import UserError
from polytask.relationships import linear_cka, rsa

BOTH = pytest.mark.parametrize("measure", [rsa, linear_cka])


def drawn(seed: int, rows: int = 40, *widths: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    base = draw.normal(size=(rows, 6))
    return {
        f"t{i}": np.tanh(base @ draw.normal(size=(6, p))) + 0.3 * draw.normal(size=(rows, p))
        for i, p in enumerate(widths or (8, 5, 12))
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 30), st.lists(st.integers(3, 9), min_size=2))
def test_rsa_is_spearman_of_the_distances(seed, rows, widths) -> None:
    features = drawn(seed, rows, *widths[:4])
    found = rsa(features)
    rdms = [pdist(f - f.mean(0), "correlation") for f in features.values()]
    for i, one in enumerate(rdms):
        for j, other in enumerate(rdms):
            assert found.values[i, j] == pytest.approx(spearmanr(one, other)[0], abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 30), st.lists(st.integers(1, 50), min_size=2))
def test_cka_is_the_normalised_hsic(seed, rows, widths) -> None:
    features = drawn(seed, rows, *widths[:4])
    centre = np.eye(rows) - 1 / rows

    def hsic(x, y):
        return np.trace(x @ x.T @ centre @ y @ y.T @ centre) / (rows - 1) ** 2

    found = linear_cka(features).values
    for i, x in enumerate(features.values()):
        for j, y in enumerate(features.values()):
            expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
            assert found[i, j] == pytest.approx(expected, abs=1e-9)


@BOTH
def test_identical_networks_are_at_one_and_the_table_is_symmetric(measure) -> None:
    features = drawn(0)
    found = measure(features | {"again": features["t1"].copy()})
    assert found.tasks == ("t0", "t1", "t2", "again")
    assert found["again"]["t1"] == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(np.diag(found.values), 1.0)
    np.testing.assert_array_equal(found.values, found.values.T)
    np.testing.assert_array_equal(np.diag(found.standard_errors), 0.0)
    assert 0 < found["t0"]["t1"] < 1


@BOTH
def test_shift_and_scale_change_nothing(measure) -> None:
    features = drawn(1)
    moved = dict(features)
    moved["t0"] = 7.5 * features["t0"] + np.linspace(-50, 90, 8)
    moved["t2"] = 1e-200 * features["t2"]
    tolerance = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(measure(moved).values, measure(features).values, **tolerance)


@BOTH
def test_the_order_of_rows_and_tasks_changes_nothing(measure) -> None:
    features = drawn(2)
    order = np.random.default_rng(0).permutation(40)
    back = {task: f[order] for task, f in reversed(features.items())}
    found = measure(back).values[::-1, ::-1]
    np.testing.assert_allclose(found, measure(features).values, atol=1e-12)


def test_a_rotation_changes_rsa_and_not_cka() -> None:
    features = drawn(3)
    turned = dict(features, t0=features["t0"] @ ortho_group.rvs(8, random_state=0))
    np.testing.assert_allclose(linear_cka(turned).values, linear_cka(features).values, atol=1e-12)
    assert np.abs(rsa(turned).values - rsa(features).values).max() > 0.01
    assert rsa({"a": features["t0"], "b": turned["t0"]})["a"]["b"] < 0.999


def test_equal_distances_share_their_rank_in_spite_of_rounding() -> None:
    # Of two features every correlation is 1 or -1: half of all distances are tied.
    one = np.array([[1.0, 0.0], [3.0, 0.1], [0.1, 0.7], [-5.0, 0.3], [2.0, -0.2]])
    found = rsa({"a": one, "b": one * 1.7 + np.array([0.3, -0.9])})
    assert found["a"]["b"] == 1.0


def test_unrelated_rows_have_no_similarity() -> None:
    draw = np.random.default_rng(5)
    features = {name: draw.normal(size=(300, 20)) for name in "abcd"}
    found = rsa(features)
    off = ~np.eye(4, dtype=bool)
    assert np.abs(found.values[off] / found.standard_errors[off]).max() < 3.5
    assert np.abs(found.values[off]).max() < 0.05


@pytest.mark.parametrize(("measure", "width"), [(rsa, 12), (linear_cka, 4)])
def test_errors_are_the_spread_over_other_rows(measure, width) -> None:
    draw = np.random.default_rng(0)
    mix, other = draw.normal(size=(6, width)), draw.normal(size=(6, width))

    def rows(seed):
        z = np.random.default_rng([9, seed]).normal(size=(120, 6))
        return {"a": z @ mix, "b": np.maximum(z @ (mix + other), 0)}

    found = [measure(rows(seed)) for seed in range(60)]
    spread = np.std([f["a"]["b"] for f in found], ddof=1)
    told = np.sqrt(np.mean([f.standard_errors[0, 1] ** 2 for f in found]))
    assert 0.7 < told / spread < 1.4


@BOTH
def test_rows_of_one_block_are_left_out_together(measure) -> None:
    few = drawn(6, 30)
    often = {task: np.repeat(f, 5, axis=0) for task, f in few.items()}
    blocks = np.repeat(np.arange(30), 5)
    known = measure(often, blocks=blocks).standard_errors[0, 1]
    assert known > 1.5 * measure(often).standard_errors[0, 1]
    np.testing.assert_allclose(known, measure(few).standard_errors[0, 1], rtol=0.35)
    names = [f"image {b}" for b in blocks]
    np.testing.assert_array_equal(
        measure(often, blocks=names).values, measure(often, blocks=blocks).values
    )


@BOTH
def test_the_seed_draws_groups_and_nothing_else(measure) -> None:
    features = drawn(7)
    first, again, other = measure(features), measure(features), measure(features, seed=1)
    np.testing.assert_array_equal(first.standard_errors, again.standard_errors)
    np.testing.assert_array_equal(first.values, other.values)
    assert not np.array_equal(first.standard_errors, other.standard_errors)
    alone = measure(features, blocks=[0] * 40)
    assert np.isnan(alone.standard_errors).all()
    np.testing.assert_array_equal(alone.values, first.values)


def test_what_has_no_spread_is_undefined() -> None:
    features = drawn(8) | {"flat": np.full((40, 3), 1 / 3), "one": drawn(8)["t0"][:, :1]}
    found = rsa(features)
    assert np.isnan(found.values[3:]).all()
    assert np.isnan(found.values[:, 3:]).all()
    assert np.isfinite(found.values[:3, :3]).all()
    kernel = linear_cka(features)
    assert np.isnan(kernel.values[3]).all()
    assert kernel["one"]["t0"] > 0
    assert np.isnan(rsa({"flat": features["flat"]}).values).all()
    dead = features["t0"].copy()
    dead[3] = dead[np.arange(40) != 3].mean(0)  # after centring, a row of zeros
    assert np.isnan(rsa({"dead": dead})["dead"]["dead"])
    corners = np.eye(4)  # as far from one another, all of them
    assert np.isnan(rsa({"corners": corners})["corners"]["corners"])


def test_four_rows_are_enough_and_one_task_too() -> None:
    found = rsa(drawn(9, 4))
    assert np.isfinite(found.values).all()
    assert rsa({"a": drawn(9)["t0"]}).values.tolist() == [[1.0]]


@BOTH
@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        ({}, {}, "found an empty one"),
        ([[1.0]], {}, "found list"),
        ({"a": np.zeros((3, 2))}, {}, "at least 4 rows, found 3"),
        ({"a": np.zeros(5)}, {}, r"shape \[n, p\], one row an item, found \[5\]"),
        ({"a": np.zeros((5, 2, 2))}, {}, "Take the mean over places"),
        ({"a": np.zeros((5, 0))}, {}, r"found \[5, 0\]"),
        ({"a": [["x"] * 4] * 4}, {}, "expected numbers"),
        ({"a": np.full((5, 2), np.nan)}, {}, "features of 'a': expected finite numbers"),
        ({"a": np.ones((5, 2)), "b": np.ones((6, 2))}, {}, "the same rows for every task"),
        ({"a": np.eye(5)}, {"blocks": [0, 1]}, "one label for each of 5 rows"),
    ],
)
def test_features_that_are_none(measure, features, options, message) -> None:
    with pytest.raises(UserError, match=message):
        measure(features, **options)
