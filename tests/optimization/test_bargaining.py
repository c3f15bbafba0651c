"""Nash-MTL and FairGrad."""

import logging

import numpy as np
import pytest
import torch
from gradient_rows import J2, J3, OPPOSITE, jacobian, near
from scipy.optimize import root

import polytask
from polytask.errors import UserError


def oracle(g, alpha):
    """Root of (Gw)_i w_i^(1/alpha) = 1 with w = exp(u), by a general root finder."""

    # Continuation from orthogonal gradients, whose answer is known.
    u = -np.log(np.diag(g)) / (1 + 1 / alpha)
    diagonal = np.diag(np.diag(g))
    for share in np.linspace(0.02, 1, 50):
        mixed = share * g + (1 - share) * diagonal

        def off(u, m=mixed):
            return (m @ np.exp(u)) * np.exp(u / alpha) - 1

        def slope(u, m=mixed):
            w, pull = np.exp(u), np.exp(u / alpha)
            return m * pull[:, None] * w + np.diag((m @ w) * pull / alpha)

        u = root(off, u, jac=slope, tol=1e-14).x
    assert np.abs(off(u)).max() < 1e-9
    return np.exp(u)


class TestNashMTL:
    def test_golden(self):
        near(polytask.NashMTL().weights(J2 @ J2.T), [0.615920, 1.306563])
        near(polytask.NashMTL().combine(J2), [0.541196, 1.306563])
        near(polytask.NashMTL().weights(J3 @ J3.T), [0.577350, 1.154701, 0.577350])
        near(polytask.NashMTL().combine(J3), [0.0, 0.0, 1.732051])

    def test_two_tasks_closed_form(self):
        for seed in range(30):
            j = jacobian(seed, 2)
            size = j.norm(dim=1)
            cosine = j[0] @ j[1] / size.prod()
            near(
                polytask.NashMTL().weights(j @ j.T), (1 / size / (1 + cosine).sqrt()).tolist(), 1e-9
            )

    @pytest.mark.parametrize("tasks", [1, 2, 8, 40, 64])
    def test_the_direction_is_as_long_as_the_tasks_are_many(self, tasks):
        j = jacobian(tasks, tasks)
        w = polytask.NashMTL().weights(j @ j.T)
        d = j.T @ w
        assert float(d @ d) == pytest.approx(tasks, rel=1e-9)
        near((j @ d) * w, [1.0] * tasks, 1e-8)

    def test_max_norm_shortens_the_direction(self):
        d = polytask.NashMTL(max_norm=1.0).combine(J2)
        near(d * 2**0.5, [0.541196, 1.306563])
        near(polytask.NashMTL(max_norm=5.0).combine(J2), [0.541196, 1.306563])

    def test_every_solves_again_after_so_many_steps(self):
        def losses(factor):
            x = trunk(torch.ones(1, 3))
            return {"a": factor * heads[0](x).square().sum(), "b": heads[1](x).square().sum()}

        torch.manual_seed(0)
        trunk = torch.nn.Linear(3, 40)
        heads = [torch.nn.Linear(40, 1), torch.nn.Linear(40, 1)]
        balancer = polytask.NashMTL(every=3, statistic="exact")
        seen = [float(balancer.backward(losses(2.0**i)).weights["a"]) for i in range(4)]
        assert seen[0] == seen[1] == seen[2]
        assert seen[3] == pytest.approx(seen[0] / 8, rel=1e-4)

    def test_wrong_arguments(self):
        with pytest.raises(UserError, match="max_norm must be positive"):
            polytask.NashMTL(max_norm=0.0)
        with pytest.raises(UserError, match="one setting"):
            polytask.NashMTL(every=2, refresh_every=3)
        with pytest.raises(UserError, match="at least 1"):
            polytask.NashMTL(every=0)


class TestFairGrad:
    @pytest.mark.parametrize(
        ("alpha", "two", "three"),
        [
            (0.5, [0.678000, 1.308864], [0.670851, 1.202055, 0.670851]),
            (1.0, [0.615920, 1.306563], [0.577350, 1.154701, 0.577350]),
            (2.0, [0.582387, 1.310371], [0.509124, 1.102175, 0.509124]),
        ],
    )
    def test_golden(self, alpha, two, three):
        near(polytask.FairGrad(alpha=alpha).weights(J2 @ J2.T), two)
        near(polytask.FairGrad(alpha=alpha).weights(J3 @ J3.T), three)

    @pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 5.0])
    @pytest.mark.parametrize("tasks", [2, 3, 8])
    def test_equals_a_root_finder(self, alpha, tasks):
        j = jacobian(tasks, tasks)
        g = j @ j.T
        expected = oracle(g.numpy(), alpha)
        found = polytask.FairGrad(alpha=alpha).weights(g).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-7)

    @pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.0, 10.0])
    @pytest.mark.parametrize("spread", [0, 8])
    @pytest.mark.parametrize("tasks", [3, 40, 64])
    def test_meets_its_equations_when_lengths_are_orders_apart(self, alpha, spread, tasks):
        j = jacobian(1, tasks)
        j = j * torch.logspace(-spread / 2, spread / 2, tasks, dtype=torch.float64)[:, None]
        g = j @ j.T
        w = polytask.FairGrad(alpha=alpha).weights(g)
        assert float(w.min()) > 0
        off = g @ w - w ** (-1 / alpha)
        assert float((off.abs() / (g.abs() @ w)).max()) < 1e-8

    def test_large_alpha_tends_to_the_best_worst_case(self):
        """Improvements of the tasks become equal, which is MGDA's property."""
        j = torch.tensor([[3.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
        gains = j @ polytask.FairGrad(alpha=30.0).combine(j)
        assert float(gains.max() / gains.min()) < 1.1
        gains = j @ polytask.FairGrad(alpha=0.1).combine(j)
        assert float(gains.max() / gains.min()) > 2

    @pytest.mark.parametrize("alpha", [0.0, -1.0, 31.0, float("nan")])
    def test_alpha_must_be_positive(self, alpha):
        with pytest.raises(UserError, match="alpha must be positive"):
            polytask.FairGrad(alpha=alpha)

    def test_agrees_with_torchjd(self):
        from torchjd.aggregation import FairGradWeighting

        for seed in range(3):
            j = jacobian(seed, 3)
            g = j @ j.T
            near(polytask.FairGrad(alpha=1.0).weights(g), FairGradWeighting(1.0)(g).tolist(), 1e-3)


@pytest.mark.parametrize("make", [polytask.NashMTL, lambda **o: polytask.FairGrad(alpha=2.0, **o)])
class TestBoth:
    def test_opposite_gradients_stop_the_shared_step_and_are_logged_once(self, make, caplog):
        balancer = make()
        with caplog.at_level(logging.WARNING, logger="polytask"):
            for _ in range(3):
                near(balancer.combine(OPPOSITE), [0.0, 0.0])
        assert len(caplog.records) == 1
        assert "opposite" in caplog.text

    def test_nearly_opposite_gradients_have_a_solution(self, make, caplog):
        j = torch.tensor([[1.0, 1e-4], [-1.0, 1e-4]], dtype=torch.float64)
        d = make().combine(j)
        assert float((j @ d).min()) > 0
        assert not caplog.records

    def test_a_zero_gradient_gets_no_weight_and_changes_nothing(self, make):
        with_zero = torch.cat([J3, torch.zeros(1, 3, dtype=torch.float64)])
        expected = [*make().weights(J3 @ J3.T).tolist(), 0.0]
        near(make().weights(with_zero @ with_zero.T), expected, 1e-12)

    def test_sum_scale_divides_by_the_frobenius_norm(self, make):
        """Equal gradients get weights of 1, and the step shrinks with the gradients."""
        equal = torch.full((4, 4), 3e-7, dtype=torch.float64)
        near(make(scale="sum").weights(equal), [1.0] * 4, 1e-9)
        one, small = make(scale="sum").combine(J3), make(scale="sum").combine(1e-3 * J3)
        near(small * 1e3, one.tolist(), 1e-9)
        paper = make().combine(J3)
        near(one / one.norm(), (paper / paper.norm()).tolist(), 1e-9)
