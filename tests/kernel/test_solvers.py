"""The T x T solvers: optimality conditions, degenerate cases, scales."""

import numpy as np
import pytest
import quadprog
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.kernel.solvers import min_norm_point, nonnegative_qp


def jacobian(rng, tasks, width=50, conflict=0.9):
    """Rows of very different length that often conflict."""
    rows = rng.standard_normal((tasks, width)) * np.exp(rng.standard_normal((tasks, 1)))
    return torch.tensor(rows - conflict * rows.mean(axis=0))


def kkt_min_norm(g, w):
    """Largest violation of: g_t.d >= |d|², with equality where w > 0, relative to |d| |g_t|."""
    gd = g @ w
    square = w @ gd
    scale = (g.diagonal() * g.diagonal().max()).sqrt().clamp_min(1e-300)
    below = ((square - gd) / scale).clamp_min(0).max()
    apart = (w * (gd - square) / scale).abs().max()
    return max(float(below), float(apart))


@pytest.mark.parametrize("tasks", [1, 2, 3, 8, 20, 40, 64])
@pytest.mark.parametrize("seed", range(5))
def test_min_norm_point_is_optimal(tasks, seed):
    j = jacobian(np.random.default_rng(seed), tasks, width=2 * tasks + 3)
    g = j @ j.T
    w = min_norm_point(g)
    assert float(w.sum()) == pytest.approx(1, abs=1e-12)
    assert float(w.min()) >= 0
    assert kkt_min_norm(g, w) < 1e-8


@pytest.mark.parametrize("exponent", [-300, -12, -4, 0, 4, 12, 300])
def test_min_norm_point_has_no_absolute_scale(exponent):
    j = jacobian(np.random.default_rng(0), 6)
    g = j @ j.T
    torch.testing.assert_close(
        min_norm_point(g * 10.0 ** (exponent / 2) * 10.0 ** (exponent / 2)),
        min_norm_point(g),
        rtol=1e-9,
        atol=1e-12,
    )


def test_min_norm_point_with_rows_eight_orders_apart():
    rng = np.random.default_rng(3)
    j = jacobian(rng, 5, conflict=0.5) * torch.logspace(-4, 4, 5, dtype=torch.float64)[:, None]
    w = min_norm_point(j @ j.T)
    assert kkt_min_norm(j @ j.T, w) < 1e-8
    assert float(w[0]) > 0.99  # the shortest gradient dominates


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 2], [1, 2]], [0.5, 0.5]),
        ([[1, 2], [1, 2], [1, 2]], [1 / 3] * 3),
        ([[1, 0], [-1, 0]], [0.5, 0.5]),
        ([[2, 0], [-1, 0]], [1 / 3, 2 / 3]),
        ([[1, 0], [0, 0]], [0, 1]),
        ([[0, 0], [0, 0]], [0.5, 0.5]),
        ([[1, 0], [3, 0]], [1, 0]),
        ([[1, 0], [0, 1]], [0.5, 0.5]),
        ([[5, 5]], [1]),
    ],
)
def test_min_norm_point_on_degenerate_rows(rows, expected):
    j = torch.tensor(rows, dtype=torch.float64)
    w = min_norm_point(j @ j.T)
    torch.testing.assert_close(w, torch.tensor(expected, dtype=torch.float64), atol=1e-8, rtol=0)


@pytest.mark.parametrize("tasks", [2, 5, 20])
@pytest.mark.parametrize("seed", range(3))
def test_nonnegative_qp_equals_quadprog(tasks, seed):
    rng = np.random.default_rng(seed)
    j = jacobian(rng, tasks)
    h = (j @ j.T) + 0.1 * torch.eye(tasks)
    f = torch.tensor(rng.standard_normal((7, tasks)))
    y = nonnegative_qp(h, f)
    for row, linear in zip(y, f, strict=True):
        oracle = quadprog.solve_qp(h.numpy(), -linear.numpy(), np.eye(tasks), np.zeros(tasks))[0]
        np.testing.assert_allclose(row.numpy(), oracle, atol=1e-8)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tasks=st.integers(1, 12),
    rank=st.integers(1, 12),
    exponent=st.integers(-12, 12),
    spread=st.integers(0, 4),
)
def test_nonnegative_qp_meets_its_optimality_conditions(seed, tasks, rank, exponent, spread):
    """Singular, badly scaled Gramians with f in their range (as every caller has)."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((tasks, min(rank, tasks)))
    rows *= 10.0 ** (exponent + rng.uniform(0, spread, (tasks, 1)))
    g = torch.tensor(rows @ rows.T)
    u = torch.tensor(rng.standard_normal((3, tasks)) / np.linalg.norm(rows, axis=1))
    f = u @ g
    y = nonnegative_qp(g, f)
    size = g.diagonal().sqrt()
    slope = (y @ g + f) / size
    length = (f / size).abs().max() + 1e-300
    assert float(y.min()) >= 0
    assert float((-slope).max() / length) < 1e-8
    assert float((y * size * slope).abs().max() / length**2) < 1e-7


def test_nonnegative_qp_passes_over_zero_rows():
    h = torch.zeros(3, 3)
    h[0, 0] = 2.0
    y = nonnegative_qp(h, torch.tensor([[-1.0, 0.0, 0.0]]))
    torch.testing.assert_close(y, torch.tensor([[0.5, 0.0, 0.0]], dtype=torch.float64))
