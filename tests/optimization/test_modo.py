"""MoDo against its formula in numpy, and the projection on the simplex."""

import numpy as np
import pytest
import torch

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.optimization.simplex import project_to_simplex
from polytask.testing.methods import small_batch, small_net


def near(value, expected, digits=5e-7):
    torch.testing.assert_close(
        value, torch.as_tensor(expected, dtype=torch.float64), atol=digits, rtol=0
    )


class TestSimplex:
    @pytest.mark.parametrize("size", [1, 2, 5, 40])
    def test_satisfies_the_optimality_conditions(self, size):
        rng = np.random.default_rng(size)
        for scale in (1e-6, 1.0, 1e6):
            v = torch.tensor(rng.standard_normal(size) * scale)
            w = project_to_simplex(v)
            near(w.sum(), 1.0, 1e-9)
            assert (w >= 0).all()
            # v - w is one number on the support and no larger elsewhere.
            gap = v - w
            on = gap[w > 0]
            assert float(on.max() - on.min()) <= 1e-9 * max(1.0, scale)
            if (w == 0).any():
                assert float(gap[w == 0].max()) <= float(on.min()) + 1e-9 * max(1.0, scale)

    def test_points_of_the_simplex_stay(self):
        w = torch.tensor([0.2, 0.5, 0.3, 0.0], dtype=torch.float64)
        near(project_to_simplex(w), w, 1e-15)
        near(project_to_simplex(torch.tensor([5.0, 0.0, 0.0]).double()), [1.0, 0.0, 0.0])
        near(project_to_simplex(torch.zeros(4).double(), total=4.0), [1.0] * 4)


class TestMoDo:
    @staticmethod
    def projected(v):
        """The nearest point of the simplex by bisection on the shift, in numpy."""
        low, high = v.min() - 1, v.max()
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if np.maximum(v - middle, 0).sum() > 1 else (low, middle)
        return np.maximum(v - high, 0)

    @pytest.mark.parametrize("rho", [0.0, 0.3])
    def test_follows_its_formula(self, rho):
        """An oracle in numpy over a training of a network whose parameters are all shared."""
        rng = np.random.default_rng(0)
        theta = torch.tensor(rng.standard_normal(6), requires_grad=True)
        mine, w, gamma = theta.detach().numpy().copy(), np.full(3, 1 / 3), 0.05
        balancer = polytask.MoDo(gamma=gamma, rho=rho, statistic="exact")
        optimizer = torch.optim.SGD([theta], lr=0.02)
        hit_a_wall = False
        for _ in range(40):
            data = [
                (rng.standard_normal((3, 6, 6)) * [[[1.0]], [[0.5]], [[3.0]]], rng.random((3, 6)))
                for _ in range(3)
            ]
            rows = [
                np.stack([a[t].T @ (a[t] @ mine - b[t]) / 3 for t in range(3)]) for a, b in data
            ]
            optimizer.zero_grad()
            step = balancer.backward(
                [
                    {
                        t: (torch.tensor(a[i]) @ theta - torch.tensor(b[i])).square().sum() / 6
                        for i, t in enumerate("abc")
                    }
                    for a, b in data
                ],
                shared=[theta],
            )
            w = self.projected(w - gamma * (rows[0] @ rows[1].T @ w + rho * w))
            hit_a_wall |= bool((w == 0).any())
            near(torch.stack(list(step.weights.values())), w, 1e-9)
            near(theta.grad, w @ rows[2], 1e-9)
            optimizer.step()
            mine = mine - 0.02 * (w @ rows[2])
        assert hit_a_wall

    def test_without_noise_it_settles_at_the_shortest_vector(self):
        j = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.5], [0.0, -2.0, 1.0]]).double()
        balancer = polytask.MoDo(gamma=0.05)
        known = Statistic(("a", "b", "c"), torch.ones(3).double(), cross=j @ j.T)
        for _ in range(2000):
            weights = balancer.decide(known)
        near(weights, polytask.MGDA().combine(j) @ torch.linalg.pinv(j), 1e-6)
        near(weights, [5 / 22, 12 / 22, 5 / 22], 1e-6)

    def test_the_cross_product_is_not_symmetric(self):
        """Rows of the first batch meet the mixture of the second."""
        cross = torch.tensor([[1.0, 4.0], [0.0, 1.0]]).double()
        balancer = polytask.MoDo(gamma=0.1)
        w = balancer.decide(Statistic(("a", "b"), torch.ones(2).double(), cross=cross))
        near(w, [0.4, 0.6])  # 0.5 - 0.1 * (2.5, 0.5), back on the simplex

    def test_absent_tasks_keep_their_share(self):
        balancer = polytask.MoDo(gamma=0.1)
        three = torch.diag(torch.tensor([3.0, 1.0, 2.0])).double()
        balancer.decide(Statistic(("a", "b", "c"), torch.ones(3).double(), cross=three))
        held = balancer.table["mass", "b"].clone()
        two = balancer.decide(
            Statistic(("a", "c"), torch.ones(2).double(), cross=three[[0, 2]][:, [0, 2]])
        )
        near(two.sum(), 1.0, 1e-12)
        assert torch.equal(balancer.table["mass", "b"], held)
        total = sum(float(balancer.table["mass", t]) for t in "abc")
        assert total == pytest.approx(3)

    def test_a_task_without_any_mass_can_be_alone(self):
        balancer = polytask.MoDo(gamma=10.0)
        cross = torch.diag(torch.tensor([0.0, 5.0])).double()
        near(balancer.decide(Statistic(("a", "b"), torch.ones(2).double(), cross=cross)), [1, 0])
        alone = Statistic(("b",), torch.ones(1).double(), cross=torch.ones(1, 1).double())
        near(balancer.decide(alone), [1.0])

    def test_steps_on_the_third_batch_and_heads_are_plain(self):
        net = small_net()
        x, y = small_batch()
        parts = [(x[:5], y[:5]), (x[5:10], y[5:10]), (x[10:], y[10:])]
        balancer = polytask.MoDo()
        step = balancer.backward([net.losses(*part) for part in parts])
        third = net.losses(*parts[2])
        for task in "abc":
            near(step.losses[task], third[task].detach().double(), 1e-6)
            plain = torch.autograd.grad(third[task], net.heads[task].weight, retain_graph=True)[0]
            torch.testing.assert_close(net.heads[task].weight.grad, plain)
        mixed = sum(float(step.weights[t]) * third[t] for t in "abc")
        for p, want in zip(
            net.trunk.parameters(),
            torch.autograd.grad(mixed, list(net.trunk.parameters())),
            strict=True,
        ):
            torch.testing.assert_close(p.grad, want, rtol=1e-5, atol=1e-7)

    def test_needs_three_batches_with_the_same_tasks(self):
        net, batch = small_net(), small_batch()
        with pytest.raises(UserError, match=r"(?s)n = 3.*losses of n independent batches"):
            polytask.MoDo().backward([net.losses(*batch)] * 2)
        first = net.losses(*batch)
        del first["c"]
        with pytest.raises(UserError, match="c is missing in one"):
            polytask.MoDo().backward([first, net.losses(*batch), net.losses(*batch)])
        with pytest.raises(UserError, match="gamma"):
            polytask.MoDo(gamma=-1.0)
