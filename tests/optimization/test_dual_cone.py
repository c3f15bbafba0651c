"""Methods that project on the cone of directions that hurt nobody, and CAGrad's ball."""

import numpy as np
import pytest
import quadprog
import torch
from gradient_rows import J2, J3, OPPOSITE, jacobian, near
from scipy.optimize import brentq

import polytask
from polytask.errors import UserError


def onto_cone(rows, v):
    """The nearest direction to v with rows @ d >= 0, in parameter space."""
    count = len(v)
    return quadprog.solve_qp(np.eye(count), v, rows.T, np.zeros(len(rows)))[0]


class TestUPGrad:
    def test_golden(self):
        near(polytask.UPGrad().weights(J2 @ J2.T), [2 / 3, 1.25])
        near(polytask.UPGrad().weights(J3 @ J3.T), [0.416667, 0.777778, 0.416667])
        near(polytask.UPGrad().combine(J2), [0.75, 1.25])
        near(polytask.UPGrad().combine(J3), [0.055556, -0.055556, 1.222222])
        near(J3 @ polytask.UPGrad().combine(J3), [4 / 3, 0.5, 4 / 3])

    @pytest.mark.parametrize("tasks", [2, 3, 8, 24])
    @pytest.mark.parametrize("seed", range(3))
    def test_is_the_mean_of_the_projected_gradients(self, tasks, seed):
        rows = jacobian(seed, tasks).numpy()
        expected = np.mean([onto_cone(rows, row) for row in rows], axis=0)
        found = polytask.UPGrad().combine(torch.tensor(rows)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(rows).max())

    def test_is_half_of_pcgrad_at_two_tasks(self):
        for seed in range(30):
            g = jacobian(seed, 2) @ jacobian(seed, 2).T
            near(polytask.UPGrad().weights(g), (polytask.PCGrad().weights(g) / 2).tolist(), 1e-9)

    def test_small_gradients_are_not_merely_averaged(self):
        """TorchJD takes a Gramian below 1e-4 for zero; here the decision has no such floor."""
        near(polytask.UPGrad().weights(1e-12 * J2 @ J2.T), [2 / 3, 1.25])


class TestDualProj:
    def test_golden(self):
        near(polytask.DualProj().combine(J2), [0.75, 0.75])
        near(polytask.DualProj().combine(J3), [0.222222, -0.222222, 0.888889])
        near(J3 @ polytask.DualProj().combine(J3), [4 / 3, 0.0, 4 / 3])

    @pytest.mark.parametrize("tasks", [2, 3, 8, 40])
    @pytest.mark.parametrize("seed", range(3))
    def test_is_the_projected_mean(self, tasks, seed):
        rows = jacobian(seed, tasks).numpy()
        found = polytask.DualProj().combine(torch.tensor(rows)).numpy()
        expected = onto_cone(rows, rows.mean(axis=0))
        np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(rows).max())


@pytest.mark.parametrize("name", ["upgrad", "dualproj"])
class TestBoth:
    def test_without_conflict_it_is_the_mean(self, name):
        j = torch.tensor([[1.0, 0.2], [0.5, 1.0], [1.0, 1.0]], dtype=torch.float64)
        near(polytask.create_method(name).weights(j @ j.T), [1 / 3] * 3, 1e-12)

    def test_opposite_gradients_leave_nothing(self, name):
        near(polytask.create_method(name).combine(OPPOSITE), [0.0, 0.0], 1e-9)

    def test_a_float32_gramian_of_dependent_rows(self, name):
        """Its eigenvalues are negative by rounding; the answer stays moderate and hurts nobody."""
        rows = jacobian(0, 3, 500).float()
        mix = torch.tensor(np.random.default_rng(0).standard_normal((12, 3))).float()
        g = ((mix @ rows) @ (mix @ rows).T).double()
        assert torch.linalg.eigvalsh(g)[0] < 0
        weights = polytask.create_method(name).weights(g)
        size = g.diagonal().sqrt()
        gain = g @ weights / size
        assert float(weights.abs().max()) < 1e3
        assert float(gain.min()) > -1e-4 * float(size.max())


class TestCAGrad:
    @pytest.mark.parametrize(
        ("c", "two", "three"),
        [
            (0.0, [1.0, 0.5], [0.333333, -0.333333, 0.833333]),
            (0.4, [0.683772, 0.816228], [0.078019, -0.078019, 0.960990]),
            (0.5, [0.604715, 0.895285], [0.014191, -0.014191, 0.992905]),
        ],
    )
    def test_golden(self, c, two, three):
        near(polytask.CAGrad(c=c).combine(J2), two)
        near(polytask.CAGrad(c=c).combine(J3), three)

    @pytest.mark.parametrize("tasks", [2, 3, 8, 20])
    @pytest.mark.parametrize("c", [0.1, 0.4, 1.0, 3.0])
    @pytest.mark.parametrize("seed", range(3))
    def test_equals_the_primal_problem_solved_by_levels(self, tasks, c, seed):
        """Highest level s whose shortest e with J(g_0 + e) >= s fits into the ball."""
        rows = jacobian(seed, tasks).numpy()
        mean = rows.mean(axis=0)
        radius = c * np.linalg.norm(mean)

        def shortest(level):
            return quadprog.solve_qp(np.eye(len(mean)), 0 * mean, rows.T, level - rows @ mean)[0]

        low = (rows @ mean).min()
        high = low + radius * np.linalg.norm(rows, axis=1).min() + 1e-9
        while np.linalg.norm(shortest(high)) < radius:
            high += high - low
        level = brentq(lambda s: np.linalg.norm(shortest(s)) - radius, low, high, xtol=1e-14)
        found = polytask.CAGrad(c=c).combine(torch.tensor(rows)).numpy()
        np.testing.assert_allclose(found, mean + shortest(level), atol=1e-6 * np.abs(rows).max())
        assert np.linalg.norm(found - mean) == pytest.approx(radius, rel=1e-9)

    def test_a_wide_ball_gives_mgda_s_direction(self):
        for seed in range(5):
            j = jacobian(seed, 4)
            d, short = polytask.CAGrad(c=1e6).combine(j), polytask.MGDA().combine(j)
            near(d / d.norm(), (short / short.norm()).tolist(), 1e-5)

    def test_where_the_hull_holds_zero_the_answer_solves_the_primal(self):
        """g_w = 0: the paper's formula divides by zero; no d does better than hurting nobody."""
        rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        near(polytask.CAGrad(c=0.5).combine(rows), [0.0, 1 / 3], 1e-9)
        near(polytask.CAGrad(c=2.0).combine(OPPOSITE), [0.0, 0.0])

    @pytest.mark.parametrize(("rescale", "divisor"), [("none", 1), ("1+c", 1.4), ("1+c^2", 1.16)])
    def test_rescale_divides(self, rescale, divisor):
        d = polytask.CAGrad(c=0.4, rescale=rescale).combine(J2)
        near(d * divisor, [0.683772, 0.816228])
        equal = torch.ones(3, 3, dtype=torch.float64)
        near(polytask.CAGrad(c=0.4, rescale=rescale).weights(equal).sum(), 1.4 / divisor)

    def test_wrong_arguments(self):
        with pytest.raises(UserError, match="c must be at least 0"):
            polytask.CAGrad(c=-0.1)
        with pytest.raises(UserError, match="rescale must be one of"):
            polytask.CAGrad(rescale="2")
