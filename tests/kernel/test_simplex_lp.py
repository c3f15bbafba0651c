"""Linear programs over the simplex, against scipy's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from polytask.kernel.solvers import best_on_simplex


def solve(c, rows, bounds):
    as_tensor = [torch.tensor(np.asarray(each, dtype=float)) for each in (c, rows, bounds)]
    found = best_on_simplex(*as_tensor)
    return None if found is None else found.numpy()


def oracle(c, rows, bounds):
    kept = np.isfinite(bounds)
    answer = linprog(
        -np.asarray(c),
        A_ub=-rows[kept] if kept.any() else None,
        b_ub=-bounds[kept] if kept.any() else None,
        A_eq=np.ones((1, len(c))),
        b_eq=[1.0],
        bounds=(0, None),
    )
    return answer.x if answer.status == 0 else None


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    tasks=st.integers(1, 20),
    count=st.integers(0, 20),
    level=st.sampled_from([-1.0, -0.3, 0.0, 0.1, 0.5]),
    whole=st.booleans(),
)
def test_equals_scipy(seed, tasks, count, level, whole):
    """Whole numbers make ties, which a pivot rule may cycle on."""
    rng = np.random.default_rng(seed)
    c, rows = rng.standard_normal(tasks), rng.standard_normal((count, tasks))
    if whole:
        c, rows = np.round(c), np.round(rows)
    bounds = np.where(rng.random(count) < 0.2, -np.inf, level * rng.random(count))
    expected, found = oracle(c, rows, bounds), solve(c, rows, bounds)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found.min() >= 0
        assert found.sum() == pytest.approx(1, abs=1e-12)
        assert (rows @ found - bounds)[np.isfinite(bounds)].min(initial=0) > -1e-9
        assert c @ found == pytest.approx(c @ expected, abs=1e-7)


@pytest.mark.parametrize("tasks", [40, 64])
def test_gramians_of_many_tasks(tasks):
    rng = np.random.default_rng(tasks)
    rows = rng.standard_normal((tasks, 3 * tasks))
    rows -= 0.9 * rows.mean(axis=0)
    g = rows @ rows.T
    found = solve(g.sum(axis=0), g, np.zeros(tasks))
    expected = oracle(g.sum(axis=0), g, np.zeros(tasks))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_without_constraints_the_best_task_gets_all():
    np.testing.assert_array_equal(solve([1, 3, 2], np.zeros((0, 3)), []), [0, 1, 0])
    np.testing.assert_array_equal(solve([1, 3, 2], [[9, 0, 0]], [-np.inf]), [0, 1, 0])


def test_a_constraint_moves_weight_where_it_costs_least():
    # w_0 + 2 w_1 >= 1 is met at half weight of task 1, which costs less than task 0.
    np.testing.assert_allclose(solve([0, 1, 2], [[1, 2, 0]], [1.0]), [0, 0.5, 0.5])
    assert solve([0, 1, 2], [[1, 1, 1]], [1.1]) is None


@pytest.mark.parametrize("factor", [2.0**-80, 2.0**80])
def test_scales_do_not_matter(factor):
    c, rows, bounds = [0, 1, 2], np.array([[1.0, 2, 0], [0, 1, 1]]), np.array([1.0, 0.7])
    plain = solve(c, rows, bounds)
    scaled = rows * [[factor], [1.0]]
    np.testing.assert_array_equal(
        solve(np.array(c) * factor, scaled, bounds * [factor, 1.0]), plain
    )
