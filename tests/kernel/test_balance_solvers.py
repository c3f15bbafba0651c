"""Solvers of CAGrad, Nash-MTL and FairGrad, and the correlation they start from."""

import numpy as np
import pytest
import torch

from polytask.kernel.solvers import (
    conflict_averse,
    correlate,
    fair_weights,
    min_norm_point,
    nonnegative_qp,
    solve_ones,
    spectrum,
)


def gramian(seed, tasks, spread=0.0, conflict=0.9):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((tasks, 2 * tasks + 3)) * np.exp(rng.standard_normal((tasks, 1)))
    rows = torch.tensor(rows - conflict * rows.mean(axis=0))
    rows = rows * torch.logspace(-spread / 2, spread / 2, tasks, dtype=torch.float64)[:, None]
    return rows @ rows.T


def kkt_conflict_averse(g, c, y):
    """Largest violation of: one level for tasks with y > 0, none below it, |Jᵀy| = c |g_0|."""
    mean = g.mean(dim=1)
    radius = c * float(mean.mean().sqrt())
    w = y / y.sum()
    level = w @ mean + radius * (w @ g @ w).sqrt()
    size = g.diagonal().sqrt()
    slope = (g @ y + mean - level) / size / radius
    length = float((y @ g @ y).sqrt()) / radius
    return max(float(-slope.min()), float((slope * y * size / radius).abs().max()), abs(length - 1))


@pytest.mark.parametrize("tasks", [1, 2, 3, 8, 40, 64])
@pytest.mark.parametrize("c", [0.05, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("spread", [0, 8])
def test_conflict_averse_is_optimal(tasks, c, spread):
    for seed, conflict in ((0, 0.9), (1, 0.5), (2, 0.0)):
        g = gramian(seed, tasks, spread, conflict)
        assert kkt_conflict_averse(g, c, conflict_averse(g, c)) < 1e-8


@pytest.mark.parametrize("tasks", [2, 8, 40])
def test_both_ways_to_solve_it_agree(tasks):
    from polytask.kernel.solvers.conflict_averse import _by_levels, _by_pivots

    found = 0
    for seed in range(10):
        g = gramian(seed, tasks)
        mean = g.mean(dim=1)
        radius = 0.5 * float(mean.mean().sqrt())
        slow, fast = _by_levels(g, mean, radius), _by_pivots(g, mean, radius)
        if fast is not None:
            found += 1
            gap = slow - fast
            assert float((gap @ g @ gap).clamp_min(0).sqrt()) < 1e-7 * radius
    assert found >= 8


def test_conflict_averse_at_the_edges():
    zero = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(conflict_averse(gramian(0, 3), 0.0), zero)
    assert torch.equal(conflict_averse(torch.zeros(3, 3), 0.5), zero)
    opposite = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    assert torch.equal(conflict_averse(opposite, 0.5), zero[:2])  # the mean gradient is zero


@pytest.mark.parametrize("tasks", [1, 2, 3, 8, 40, 64])
@pytest.mark.parametrize("power", [0.1, 0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("spread", [0, 8])
def test_fair_weights_solve_their_equations(tasks, power, spread):
    g = gramian(tasks, tasks, spread)
    w = fair_weights(g, power)
    assert w is not None
    assert float(w.min()) > 0
    off = (g @ w - w**-power).abs() / (g.abs() @ w)
    assert float(off.max()) < 1e-8


@pytest.mark.parametrize("exponent", [-300, -24, 24, 300])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_fair_weights_scale_as_they_should(exponent, power):
    g = gramian(1, 5)
    factor = 10.0 ** (exponent / 2)
    scaled = fair_weights(g * factor * factor, power)
    assert scaled is not None
    expected = fair_weights(g, power)
    torch.testing.assert_close(scaled, expected * factor ** (-2 / (1 + power)), rtol=1e-8, atol=0)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    "rows", [[[1.0, 0.0], [-2.0, 0.0]], [[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]]]
)
def test_fair_weights_say_when_there_are_none(rows, power):
    j = torch.tensor(rows, dtype=torch.float64)
    assert fair_weights(j @ j.T, power) is None


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_fair_weights_close_to_opposite(power):
    """A bargain exists however small the common ground; w grows as its inverse."""
    for angle in (1e-2, 1e-4):
        j = torch.tensor([[1.0, angle], [-1.0, angle]], dtype=torch.float64)
        w = fair_weights(j @ j.T, power)
        assert w is not None
        expected = (2 * angle**2) ** (-1 / (1 + power))
        torch.testing.assert_close(w, torch.full((2,), expected).double(), rtol=1e-5, atol=0)


def test_a_start_does_not_change_the_answer():
    g = gramian(3, 12)
    f = torch.tensor(np.random.default_rng(0).standard_normal((5, 12)))
    plain = nonnegative_qp(g, f)
    for start in (plain, torch.ones_like(f), torch.rand(5, 12).double() - 0.5):
        torch.testing.assert_close(nonnegative_qp(g, f, start=start), plain, atol=1e-9, rtol=1e-9)


def test_correlation_leaves_out_zero_rows_and_lengths():
    g = gramian(0, 4, spread=8)
    g[1] = 0
    g[:, 1] = 0
    known = correlate(g)
    assert known.live.tolist() == [True, False, True, True]
    torch.testing.assert_close(known.cosine.diagonal(), torch.ones(3, dtype=torch.float64))
    assert known.spread(torch.ones(3)).tolist() == [1.0, 0.0, 1.0, 1.0]
    torch.testing.assert_close(
        known.cosine @ solve_ones(known.cosine), torch.ones(3, dtype=torch.float64)
    )


def test_noise_of_float32_does_not_count_as_a_direction():
    row = torch.randn(10_007, generator=torch.Generator().manual_seed(0))
    rows = row.expand(5, -1).contiguous()
    known = correlate((rows @ rows.T).double())
    assert len(spectrum(known.cosine)[0]) == 1
    torch.testing.assert_close(
        solve_ones(known.cosine), torch.full((5,), 0.2).double(), rtol=1e-5, atol=0
    )


def test_min_norm_point_of_a_slightly_indefinite_gramian():
    """Dependent rows summed in float32 leave eigenvalues just below zero."""
    rows = torch.randn(3, 2000, generator=torch.Generator().manual_seed(0))
    mix = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    g = ((mix @ rows) @ (mix @ rows).T).double()
    assert float(torch.linalg.eigvalsh(g)[0]) < 0
    w = min_norm_point(g)
    assert float(w.sum()) == pytest.approx(1)
    assert float((w @ g @ w).abs().sqrt()) < 1e-2 * float(g.diagonal().min().sqrt())
