"""Methods that bring tasks to one size: adaptive loss balancing and MetaBalance."""

import numpy as np
import pytest
import torch
from gradient_rows import jacobian, near

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.testing.methods import full_step, small_batch, small_net


def rows(main, *helpers):
    return torch.tensor([main, *helpers], dtype=torch.float64)


class TestAdaLoss:
    def weights(self, method, losses, names="abc"):
        values = torch.tensor(losses, dtype=torch.float64)
        return method.decide(Statistic(tuple(names[: len(losses)]), values))

    def test_reciprocals_of_the_running_means(self):
        method = polytask.AdaLoss(beta=0.5)
        near(self.weights(method, [1.0, 2.0, 4.0]), [12 / 7, 6 / 7, 3 / 7])
        means = np.array([(1 + 3) / 2, (2 + 2) / 2, (4 + 0) / 2])
        near(self.weights(method, [3.0, 2.0, 0.0]), 3 / means / (1 / means).sum())
        near(self.weights(polytask.AdaLoss(), [0.3, 0.3]), [1, 1])

    def test_units_of_losses_do_not_matter(self):
        """w_t L_t is free of them, up to the common factor that makes the weights sum to T."""
        plain, scaled = polytask.AdaLoss(), polytask.AdaLoss()
        for seed in range(5):
            losses = np.random.default_rng(seed).uniform(0.5, 2, 3)
            units = np.array([1e-6, 1.0, 1e6])
            one = self.weights(plain, losses).numpy() * losses
            two = self.weights(scaled, losses * units).numpy() * losses * units
            np.testing.assert_allclose(one / one.sum(), two / two.sum(), rtol=1e-9)

    def test_absent_tasks_keep_their_mean(self):
        method = polytask.AdaLoss(beta=0.5)
        self.weights(method, [1.0, 3.0])
        near(self.weights(method, [2.0], "a"), [1.0])
        near(self.weights(method, [1.5, 3.0]), [4 / 3, 2 / 3])

    def test_degenerate_losses(self):
        near(self.weights(polytask.AdaLoss(), [0.0, 2.0]), [0.0, 2.0])
        near(self.weights(polytask.AdaLoss(), [0.0, 0.0]), [1.0, 1.0])
        assert bool(self.weights(polytask.AdaLoss(), [1e-300, 1e300]).isfinite().all())
        with pytest.raises(UserError, match="'b' is -1"):
            self.weights(polytask.AdaLoss(), [1.0, -1.0])
        with pytest.raises(UserError, match="beta must be"):
            polytask.AdaLoss(beta=1.0)


def official_metabalance(batches, r, beta):
    """The published rule with its zero-started means, for gradients [T, n] of one tensor."""
    norms = np.zeros(len(batches[0]))
    for rows_ in batches:
        norms = beta * norms + (1 - beta) * np.linalg.norm(rows_, axis=1)
        total = sum(
            r * norms[0] / norms[k] * rows_[k] + (1 - r) * rows_[k] for k in range(len(rows_))
        )
    return total


class TestMetaBalance:
    def test_closed_forms(self):
        j = rows((1, 0), (0, 10))
        near(polytask.MetaBalance(beta=0.0).combine(j), [1, 3.7], 1e-12)
        near(polytask.MetaBalance().combine(j), [1, 3.7], 1e-12)  # a first step has no past
        near(polytask.MetaBalance(r=0.0).combine(j), [1, 10], 1e-12)
        near(polytask.MetaBalance(r=1.0).combine(j), [1, 1], 1e-12)

    @pytest.mark.parametrize(
        ("strategy", "expected"), [("both", [1, 1, 1]), ("shorten", [1, 1, 0.5])]
    )
    def test_strategies(self, strategy, expected):
        j = torch.diag(torch.tensor([1.0, 10.0, 0.5], dtype=torch.float64))
        near(polytask.MetaBalance(r=1.0, strategy=strategy).combine(j), expected, 1e-12)
        near(polytask.MetaBalance(r=1.0, strategy="lengthen").combine(j), [1, 10, 1], 1e-12)

    def test_means_are_the_official_code_s(self):
        method = polytask.MetaBalance(main=0, beta=0.9)
        batches = [jacobian(seed, 3) for seed in range(6)]
        for j in batches:
            direction = method.combine(j)
        expected = official_metabalance([j.numpy() for j in batches], 0.7, 0.9)
        torch.testing.assert_close(direction, torch.tensor(expected))

    def test_is_tensor_by_tensor_in_a_network(self):
        net, batch = small_net(), small_batch()
        losses = net.losses(*batch)
        shared = list(net.trunk.parameters())
        expected = []
        for parameter in shared:
            main, *helpers = (
                torch.autograd.grad(losses[t], parameter, retain_graph=True)[0] for t in "bac"
            )
            expected.append(main + sum(0.7 * main.norm() / h.norm() * h + 0.3 * h for h in helpers))
        full_step(polytask.MetaBalance(main="b"), net, batch)
        for parameter, one in zip(shared, expected, strict=True):
            torch.testing.assert_close(parameter.grad, one, rtol=1e-4, atol=1e-6)

    def test_heads_are_plain(self):
        plain, net, batch = small_net(), small_net(), small_batch()
        sum(plain.losses(*batch).values()).backward()
        full_step(polytask.MetaBalance(), net, batch)
        for one, two in zip(plain.heads.parameters(), net.heads.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad)

    def test_a_newcomer_is_not_taken_for_a_short_one(self):
        method = polytask.MetaBalance(main="a", r=1.0)
        j = torch.eye(3, dtype=torch.float64)

        def direction(names, part):
            known = Statistic(tuple(names), torch.ones(len(names)), jacobian=part)
            return method.decide(known)

        for _ in range(4):
            direction("ab", j[:2])
        near(direction("abc", j), [1, 1, 1], 1e-9)

    def test_absent_main_and_zero_gradients(self):
        method = polytask.MetaBalance(main="a", r=1.0, beta=0.0)

        def direction(names, j):
            known = Statistic(tuple(names), torch.ones(len(names)), jacobian=j, sizes=(1, 2))
            return method.decide(known)

        with pytest.raises(UserError, match="first step"):
            direction("bc", jacobian(0, 2, 3))
        j = rows((0, 3, 4), (2, 0, 0), (0, 6, 8))
        # The main gradient has no length on the first tensor: helpers stay as they are there.
        near(direction("abc", j), [2, 6, 8], 1e-12)
        near(direction("bc", j[1:]), [2, 3, 4], 1e-12)
        zero = torch.zeros(3, 3, dtype=torch.float64)
        assert bool(direction("abc", zero).isfinite().all())

    @pytest.mark.parametrize("factor", [1e-25, 1e25])
    def test_lengths_of_any_magnitude(self, factor):
        j = jacobian(0, 3).float()
        plain = polytask.MetaBalance().combine(j)
        torch.testing.assert_close(polytask.MetaBalance().combine(j * factor) / factor, plain)

    def test_parameters_that_change_are_said(self):
        method = polytask.MetaBalance()
        names, losses = ("a", "b"), torch.ones(2)
        method.decide(Statistic(names, losses, jacobian=jacobian(0, 2, 4), sizes=(1, 3)))
        with pytest.raises(UserError, match="on 2 tensors and now is on 1"):
            method.decide(Statistic(names, losses, jacobian=jacobian(0, 2, 4), sizes=(4,)))

    @pytest.mark.parametrize(
        "arguments", [{"r": 1.5}, {"beta": 1.0}, {"strategy": "grow"}, {"heads": "weighted"}]
    )
    def test_wrong_options(self, arguments):
        with pytest.raises(UserError):
            polytask.MetaBalance(**arguments)
