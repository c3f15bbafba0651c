"""Closed forms, golden vectors and oracles of the methods."""

import math

import numpy as np
import pytest
import torch

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.optimization.gradients.pcgrad import project

J2 = torch.tensor([[3.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
J3 = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.5], [0.0, -2.0, 1.0]], dtype=torch.float64)
LOSSES = torch.tensor([0.3, 1.2, 0.7], dtype=torch.float64)


def near(value, expected, digits=5e-7):
    torch.testing.assert_close(
        value, torch.tensor(expected, dtype=torch.float64), atol=digits, rtol=0
    )


def from_losses(balancer, losses=LOSSES):
    names = tuple("abcdefgh"[: len(losses)])
    return balancer.decide(Statistic(names, losses, generator=balancer.generator))


class TestPCGrad:
    def test_two_tasks(self):
        near(polytask.PCGrad().combine(J2), [1.5, 2.5])

    def test_order_matters_from_three_tasks_on(self):
        up = torch.arange(3).expand(3, 3)
        for order, expected in (
            (up, [0.266667, -0.146667, 3.706667]),
            (up.flip(1), [0.146667, -0.266667, 3.706667]),
        ):
            near(J3.T @ project(J3 @ J3.T, order).sum(dim=0), expected)

    @pytest.mark.parametrize("tasks", [2, 3, 5, 12])
    def test_equals_the_projection_of_the_gradients_themselves(self, tasks):
        rng = np.random.default_rng(tasks)
        j = rng.standard_normal((tasks, 20))
        j -= 0.9 * j.mean(axis=0)
        order = np.stack([rng.permutation(tasks) for _ in range(tasks)])
        total = np.zeros(20)
        for i in range(tasks):
            v = j[i].copy()
            for k in order[i]:
                if k != i and v @ j[k] < 0:
                    v -= (v @ j[k]) / (j[k] @ j[k]) * j[k]
            total += v
        rows = torch.tensor(j)
        weights = project(rows @ rows.T, torch.tensor(order)).sum(dim=0)
        np.testing.assert_allclose((rows.T @ weights).numpy(), total, atol=1e-12)

    def test_no_conflict_is_the_plain_sum(self):
        j = torch.tensor([[1.0, 0.2], [0.5, 1.0], [1.0, 1.0]], dtype=torch.float64)
        assert torch.equal(polytask.PCGrad().weights(j @ j.T), torch.ones(3, dtype=torch.float64))

    def test_projected_gradients_are_orthogonal_at_two_tasks(self):
        a = project(J2 @ J2.T, torch.tensor([[0, 1], [0, 1]]))
        v = a @ J2
        near(v[0] @ J2[1], 0.0)
        near(v[1] @ J2[0], 0.0)

    def test_opposite_gradients_cancel_and_zero_rows_are_untouched(self):
        opposite = torch.tensor([[1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64)
        near(polytask.PCGrad().combine(opposite), [0.0, 0.0])
        zero = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
        near(polytask.PCGrad().weights(zero @ zero.T), [1.0, 1.0])

    def test_the_generator_decides_the_order(self):
        def draw(seed):
            generator = torch.Generator().manual_seed(seed)
            return polytask.PCGrad(generator=generator).weights(J3 @ J3.T)

        assert torch.equal(draw(0), draw(0))
        assert any(not torch.equal(draw(0), draw(seed)) for seed in range(1, 10))


class TestMGDA:
    def test_golden(self):
        near(polytask.MGDA().weights(J2 @ J2.T), [5 / 17, 12 / 17])
        near(polytask.MGDA().weights(J3 @ J3.T), [5 / 22, 12 / 22, 5 / 22])
        near(polytask.MGDA().combine(J3), [-1 / 11, 1 / 11, 8 / 11])

    def test_two_tasks_closed_form(self):
        rng = np.random.default_rng(0)
        for _ in range(50):
            j = torch.tensor(rng.standard_normal((2, 4)) * np.exp(rng.standard_normal((2, 1))))
            gap = j[0] - j[1]
            first = float((-(gap @ j[1]) / (gap @ gap)).clamp(0, 1))
            near(polytask.MGDA().weights(j @ j.T), [first, 1 - first], 1e-9)

    def test_improves_every_task(self):
        rng = np.random.default_rng(1)
        for _ in range(50):
            j = torch.tensor(rng.standard_normal((4, 9)))
            d = polytask.MGDA().combine(j)
            assert float((j @ d).min()) >= float(d @ d) * (1 - 1e-9)

    def test_normalisation_changes_the_solve_not_the_gradients(self):
        long = J2 * torch.tensor([[100.0], [1.0]], dtype=torch.float64)
        unit = polytask.MGDA(normalization="l2").weights(long @ long.T)
        near(unit, [0.5, 0.5])
        losses = torch.tensor([2.0, 4.0], dtype=torch.float64)
        divided = J2 / losses[:, None]
        near(
            polytask.MGDA(normalization="loss").weights(J2 @ J2.T, losses=losses),
            polytask.MGDA().weights(divided @ divided.T).tolist(),
        )
        with pytest.raises(UserError, match="not positive"):
            polytask.MGDA(normalization="loss+").weights(J2 @ J2.T, losses=-losses)


class TestLossWeighting:
    def test_gls(self):
        near(from_losses(polytask.GLS()), [0.701818, 0.175454, 0.300779])

    def test_gls_gradient_is_that_of_the_geometric_mean(self):
        losses = LOSSES.clone().requires_grad_()
        losses.prod().pow(1 / 3).backward()
        near(from_losses(polytask.GLS()), losses.grad.tolist(), 1e-12)

    @pytest.mark.parametrize("value", [0.05, 12.0])
    def test_gls_of_forty_tasks_neither_vanishes_nor_overflows(self, value):
        losses = torch.full((40,), value, dtype=torch.float64)
        known = Statistic(tuple(map(str, range(40))), losses)
        near(polytask.GLS().decide(known), [1 / 40] * 40)

    def test_gls_refuses_a_loss_that_is_not_positive(self):
        with pytest.raises(UserError, match="task 'b' is -1"):
            from_losses(polytask.GLS(), torch.tensor([1.0, -1.0]))

    def test_linear_is_fixed_by_name(self):
        near(from_losses(polytask.Linear(weights={"b": 2.5})), [1.0, 2.5, 1.0])
        near(from_losses(polytask.Linear(weights={"b": 2.0})) * 0 + LOSSES * 0, [0.0, 0.0, 0.0])
        with pytest.raises(UserError, match="finite"):
            polytask.Linear(weights={"a": math.nan})

    @pytest.mark.parametrize("distribution", ["normal", "dirichlet"])
    def test_rlw_is_on_the_simplex_and_fair(self, distribution):
        generator = torch.Generator().manual_seed(0)
        balancer = polytask.RLW(distribution=distribution, generator=generator)
        draws = torch.stack([from_losses(balancer) for _ in range(3000)])
        torch.testing.assert_close(draws.sum(dim=1), torch.ones(3000, dtype=torch.float64))
        near(draws.mean(dim=0), [1 / 3] * 3, 0.02)
        assert draws.std() > 0.1

    @pytest.mark.parametrize("kind", ["regression", "classification"])
    def test_uncertainty_settles_at_the_inverse_loss(self, kind):
        balancer = polytask.Uncertainty(lr=0.05, kinds=dict.fromkeys("abc", kind))
        for _ in range(3000):
            weights = from_losses(balancer)
        near(weights * LOSSES, [0.5, 0.5, 0.5], 1e-3)
        s = torch.stack([balancer.table["log_variance", t] for t in "abc"])
        near(s.exp() / LOSSES, [1.0 if kind == "regression" else 2.0] * 3, 3e-3)

    def test_uncertainty_steps_down_its_own_objective(self):
        """The first step of s equals Adam on sum ½ e^-s L + ½ s."""
        s = torch.full((3,), -0.5, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([s], lr=0.02)
        balancer = polytask.Uncertainty(lr=0.02, initial=-0.5)
        for _ in range(5):
            adam.zero_grad()
            (0.5 * torch.exp(-s) * LOSSES + 0.5 * s).sum().backward()
            weights = from_losses(balancer)
            near(weights, (0.5 * torch.exp(-s.detach())).tolist(), 1e-12)
            adam.step()


def test_as_balancer_takes_a_peer_s_weighting():
    """TorchJD's PCGrad and MGDA weightings plug in, and agree with ours where they are exact."""
    from torchjd.aggregation import MGDAWeighting, PCGradWeighting

    g = (J2 @ J2.T).float()
    for theirs, ours in (
        (PCGradWeighting(), polytask.PCGrad()),
        (MGDAWeighting(), polytask.MGDA()),
    ):
        near(polytask.as_balancer(theirs).weights(g).double(), ours.weights(g).tolist(), 1e-4)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("pcgrd", {}, "did you mean 'pcgrad'"),
        ("mgda", {"normalisation": "l2"}, "did you mean 'normalization'"),
        ("mgda", {"normalization": "l3"}, "did you mean 'l2'"),
        ("mgda", {"statistic": "tails"}, "must be one of"),
        ("linear", {"statistic": "exact"}, "reads loss values only"),
        ("pcgrad", {"statistic": "losses"}, "reads gradients"),
        ("pcgrad", {"heads": "none"}, "heads must be one of"),
        ("pcgrad", {"depth": 0}, "depth must be at least 1"),
    ],
)
def test_wrong_words_are_named(name, arguments, message):
    with pytest.raises(UserError, match=message):
        polytask.create_method(name, **arguments)
