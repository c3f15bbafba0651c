"""Weights of helpers from inner products (ARML, OL-AUX), and helpers that share nothing."""

import copy
import itertools

import numpy as np
import pytest
import quadprog
import torch
from gradient_rows import KINDS, degenerate, jacobian, near
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.kernel.solvers import nearest_mixture
from polytask.testing.methods import full_step, only, small_batch, small_net

AXES = torch.eye(3, dtype=torch.float64)


def rows(main, *helpers):
    return torch.tensor([main, *helpers], dtype=torch.float64)


def decide(method, names, j):
    return method.decide(Statistic(tuple(names), torch.ones(len(names)), j @ j.T))


def quadprog_mixture(g, row=0):
    """The same problem by an independent solver, with a ridge where it needs one."""
    at = [i for i in range(len(g)) if i != row]
    count = len(at)
    scale = max(float(g.diagonal().max()), 1e-300)
    q, c = (g[at][:, at] / scale).numpy(), (g[at, row] / scale).numpy()
    bounds = np.vstack([np.ones(count), np.eye(count)]).T, np.r_[count, np.zeros(count)]
    for ridge in (0, 1e-14, 1e-13, 1e-12, 1e-11):
        try:
            found = quadprog.solve_qp(q + ridge * np.eye(count), c, *bounds, 1)[0]
        except ValueError:  # not positive definite
            continue
        return torch.tensor(found), scale
    raise AssertionError("the independent solver found no answer")


def distance(g, a, row=0):
    """|g_row - sum a_k g_k|²."""
    signs = torch.ones(len(g), dtype=torch.float64)
    signs[[i for i in range(len(g)) if i != row]] = -a
    return float(signs @ g @ signs)


class TestNearestMixture:
    @pytest.mark.parametrize("tasks", [2, 3, 6, 15])
    @pytest.mark.parametrize("seed", range(6))
    def test_equals_an_independent_qp(self, seed, tasks):
        g = jacobian(seed, tasks) @ jacobian(seed, tasks).T
        expected, _ = quadprog_mixture(g)
        torch.testing.assert_close(
            nearest_mixture(g, 0, tasks - 1), expected, atol=1e-9 * tasks, rtol=0
        )

    @pytest.mark.parametrize("tasks", [2, 3, 8, 20])
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_as_near_as_an_independent_qp_on_degenerate_rows(self, kind, tasks):
        for seed in range(5):
            j = degenerate(kind, seed, tasks)
            g = j @ j.T
            a = nearest_mixture(g, 0, tasks - 1)
            assert bool((a >= 0).all())
            assert float(a.sum()) == pytest.approx(tasks - 1, abs=1e-9)
            expected, scale = quadprog_mixture(g)
            assert distance(g, a) <= distance(g, expected) + 1e-9 * scale * tasks**2

    def test_duplicates_share_equally_and_the_same_every_time(self):
        j = jacobian(3, 4)
        j = torch.cat([j, j[1:3]])
        g = j @ j.T
        a = nearest_mixture(g, 0, 5)
        near(a[:2], a[3:].tolist(), 1e-9)
        assert torch.equal(a, nearest_mixture(g.clone(), 0, 5))

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10_000), tasks=st.integers(2, 8), width=st.integers(1, 10))
    def test_no_direction_within_the_simplex_leads_nearer(self, seed, tasks, width):
        j = torch.tensor(np.random.default_rng(seed).standard_normal((tasks, width)))
        g = j @ j.T
        a = nearest_mixture(g, 0, tasks - 1)
        slope = g[1:, 1:] @ a - g[0, 1:]
        # The best vertex is no better than where we are, to first order.
        assert float((tasks - 1) * slope.min()) >= float(slope @ a) - 1e-8 * float(
            g.diagonal().max()
        )


class TestARML:
    @pytest.mark.parametrize(
        ("main", "helpers", "expected"),
        [
            ((2, 1), [(1, 0), (0, 1)], [1.5, 0.5]),
            ((2, 1), [(1, 0), (0, -1)], [2, 0]),
            ((2, 1), [(1, 0), (0, 1), (-1, 0)], [2, 1, 0]),
            ((1, 2, 0), [(1, 0, 0), (0, 1, 0), (0, 0, 1)], [1, 2, 0]),
            ((3, 1), [(-1, 5)], [1]),
        ],
    )
    @pytest.mark.parametrize("solver", ["qp", "projected"])
    def test_closed_forms(self, solver, main, helpers, expected):
        j = rows(main, *helpers)
        method = polytask.create_method("arml", main=0, solver=solver)
        for _ in range(1 if solver == "qp" else 2000):
            weights = method.weights(j @ j.T)
        near(weights, [1, *expected], 1e-9)

    def test_the_official_code_s_step(self):
        g = rows((2, 1), (1, 0), (0, 1))
        for projection in ("simplex", "shift"):
            method = polytask.ARML(solver="projected", projection=projection)
            near(method.weights(g @ g.T), [1, 1.05, 0.95], 1e-12)

    def test_projections_differ_where_a_weight_is_clamped(self):
        """Worked by hand: a step from (1, 1, 1) to (.9, .9, -1.1), which sum to .7."""
        j = rows((0, 0, 20), (1, 0, 0), (0, 1, 0), (0, 0, -1))
        shift = polytask.ARML(solver="projected", projection="shift").weights(j @ j.T)
        near(shift, [1, 0.9 + 2.3 / 3, 0.9 + 2.3 / 3, 0], 1e-9)  # -1.1 + 2.3 / 3 is clamped
        nearest = polytask.ARML(solver="projected").weights(j @ j.T)
        near(nearest, [1, 1.5, 1.5, 0], 1e-9)

    def test_the_projected_steps_settle_at_the_exact_answer(self):
        for seed in range(5):
            j = jacobian(seed, 4, 30)
            j = j / j.norm(dim=1, keepdim=True)
            g = j @ j.T
            exact = polytask.ARML().weights(g)
            method = polytask.ARML(solver="projected", lr=0.2)
            for _ in range(400):
                weights = method.weights(g)
            near(weights, exact.tolist(), 1e-6)

    def test_a_helper_against_the_main_task_goes_to_zero_where_others_take_the_mass(self):
        j = rows((2, 1), (1, 0), (0, 1), (-2, -1))
        near(polytask.ARML().weights(j @ j.T), [1, 2, 1, 0], 1e-9)
        for seed in range(5):
            j = jacobian(seed, 4, 30)
            j = j / j.norm(dim=1, keepdim=True)
            j = torch.cat([j, -j[:1]])
            assert float(polytask.ARML().weights(j @ j.T)[4]) == 0.0

    def test_a_helper_against_the_main_task_takes_back_what_overshoots(self):
        """Two weights that sum to 2 on a copy and on its opposite: 1.5 and .5 are exact."""
        j = rows((1, 2), (1, 2), (-1, -2))
        near(polytask.ARML().weights(j @ j.T), [1, 1.5, 0.5], 1e-9)

    def test_surplus_mass_goes_to_short_and_orthogonal_rows(self):
        """The geometry that the docstring warns of: the copy need not be largest."""
        noise = lambda size: rows((1, 0, 0), (1, 0, 0), (1, 0.4, 0), (0, 0, size))  # noqa: E731
        short = polytask.ARML().weights(noise(0.1) @ noise(0.1).T)
        long = polytask.ARML().weights(noise(1.0) @ noise(1.0).T)
        assert float(short[3]) > 1.9
        assert float(short[1]) < float(short[3])
        assert float(long[1]) > float(long[3])

    def test_permuting_helpers_permutes_weights(self):
        j, order = jacobian(4, 5), [0, 3, 1, 4, 2]
        g = j @ j.T
        expected = polytask.ARML().weights(g)[order].tolist()
        near(polytask.ARML().weights(g[order][:, order]), expected, 1e-9)

    def test_one_task_alone_has_weight_1(self):
        near(polytask.ARML().weights(torch.ones(1, 1, dtype=torch.float64)), [1.0])

    def test_absent_tasks(self):
        j = jacobian(2, 4)
        method = polytask.ARML(main="a")
        full = decide(method, "abcd", j)
        without_main = decide(method, "cd", j[2:])
        near(without_main, full[2:].tolist())  # the weights they had
        fewer = decide(method, "abd", j[[0, 1, 3]])
        near(fewer, polytask.ARML().weights(j[[0, 1, 3]] @ j[[0, 1, 3]].T).tolist())
        near(decide(method, "c", j[2:3]), [float(full[2])])

    def test_a_constant_helper_gets_a_finite_weight(self):
        j = jacobian(5, 4)
        j[2] = 0
        weights = polytask.ARML().weights(j @ j.T)
        assert bool(weights.isfinite().all())
        assert float(weights[1:].sum()) == pytest.approx(3)

    def test_running_mean_starts_at_the_first_gramian(self):
        net, batch = small_net(), small_batch()
        one = full_step(polytask.ARML(main="a"), net, batch)
        near(
            torch.stack(list(one.weights.values())),
            polytask.ARML().weights(one.gramian).tolist(),
            1e-9,
        )

    def test_equals_an_independent_qp_on_the_mean_during_a_training(self):
        net, (x, y) = small_net(), small_batch()
        method = polytask.ARML(main="b", smooth=0.5)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        mean = None
        for i in range(30):
            part = torch.arange(16).roll(3 * i)[:8]
            step = full_step(method, net, (x[part], y[part]), optimizer=optimizer)
            mean = step.gramian if mean is None else torch.lerp(step.gramian, mean, 0.5)
            expected, _ = quadprog_mixture(mean, row=1)
            found = [float(step.weights[t]) for t in "ac"]
            near(torch.tensor(found), expected.tolist(), 1e-6)
            assert float(step.weights["b"]) == 1.0

    def test_every_measures_in_one_of_so_many_steps(self):
        net, batch = small_net(), small_batch()
        method = polytask.ARML(main="a", solver="projected", every=3)
        sources = [full_step(method, net, batch).statistic for _ in range(6)]
        measured = [not source.startswith("losses") for source in sources]
        assert measured == [True, False, False] * 2
        assert polytask.ARML(solver="projected").refresh_every == 20
        assert polytask.ARML().refresh_every == 1

    def test_state_by_name_continues_identically(self):
        first = polytask.ARML(main="a", solver="projected", every=1)
        for seed in range(3):
            decide(first, "abcd", jacobian(seed, 4))
        second = polytask.ARML(main="a", solver="projected", every=1)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        j = jacobian(9, 4)
        order = [0, 3, 2, 1]
        near(decide(second, "adcb", j[order]), decide(first, "abcd", j)[order].tolist(), 1e-12)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"solver": "cvx"}, "solver must be one of"),
            ({"projection": "clip"}, "projection must be one of"),
            ({"lr": -1.0}, "lr must be at least 0"),
            ({"noise": -1.0}, "noise must be at least 0"),
            ({"every": 0}, "every must be at least 1"),
            ({"every": 2, "refresh_every": 2}, "one setting"),
            ({"main": 5}, "not a row of the 3"),
        ],
    )
    def test_wrong_options(self, arguments, message):
        with pytest.raises(UserError, match=message):
            polytask.ARML(**arguments).weights(torch.eye(3, dtype=torch.float64))


class TestLangevinNoise:
    def step(self, noise, seed=0, call=True):
        net, batch = small_net(), small_batch()
        generator = torch.Generator().manual_seed(seed)
        method = polytask.ARML(main="a", noise=noise, generator=generator)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        full_step(method, net, batch, optimizer=optimizer)
        return net

    def test_has_the_stated_spread_on_the_shared_parameters_alone(self):
        plain, noisy = self.step(0.0), self.step(0.01)
        for one, two in zip(plain.heads.parameters(), noisy.heads.parameters(), strict=True):
            assert torch.equal(one, two)
        moved = [
            (two - one).detach().flatten()
            for one, two in zip(plain.trunk.parameters(), noisy.trunk.parameters(), strict=True)
        ]
        assert all(bool((m != 0).any()) for m in moved)
        assert float(torch.cat(moved).std()) == pytest.approx(0.01, rel=0.2)

    def test_is_drawn_from_the_generator(self):
        one, two, other = self.step(0.01, 1), self.step(0.01, 1), self.step(0.01, 2)
        assert torch.equal(one.trunk[0].weight, two.trunk[0].weight)
        assert not torch.equal(one.trunk[0].weight, other.trunk[0].weight)

    def test_needs_after_step(self):
        net, batch = small_net(), small_batch()
        method = polytask.ARML(main="a", noise=0.1)
        method.backward(net.losses(*batch))
        with pytest.raises(UserError, match=r"balancer\.after_step\(\)"):
            method.backward(net.losses(*batch))

    def test_samples_the_posterior_of_a_gaussian_mean(self):
        """On ½ (θ - 1)² per row the draws are normal around 1 with variance 1 / n."""
        theta = nn.Parameter(torch.zeros(500, dtype=torch.float64))
        n, rate = 50, 0.02
        method = polytask.ARML(
            main="a", noise=(2 * rate / n) ** 0.5, generator=torch.Generator().manual_seed(0)
        )
        optimizer = torch.optim.SGD([theta], lr=rate)
        draws = []
        for i in range(500):
            optimizer.zero_grad()
            half = 0.25 * (theta - 1).square().sum()
            method.backward({"a": half, "b": half + 0 * theta.sum()}, shared=[theta])
            optimizer.step()
            method.after_step()
            if i >= 250:
                draws.append(theta.detach().clone())
        drawn = torch.stack(draws)
        assert float(drawn.mean()) == pytest.approx(1.0, abs=0.01)
        assert float(drawn.var()) == pytest.approx(1 / n, rel=0.1)


class TestOLAux:
    def test_the_sum_of_the_last_products_moves_the_weights(self):
        method = polytask.OLAux(main="a", lr=0.1, inner_lr=0.5, every=3, clamp=False)
        batches = [jacobian(seed, 4) for seed in range(7)]
        products = torch.stack([j[1:] @ j[0] for j in batches])
        for i, j in enumerate(batches):
            done = products[: i // 3 * 3].sum(dim=0)
            near(decide(method, "abcd", j), [1, *(1 + 0.1 * 0.5 * done).tolist()], 1e-9)

    def test_aligned_grows_orthogonal_stays_opposed_falls_to_zero(self):
        j = rows((1, 0), (2, 0), (0, 3), (-1, 0))
        method = polytask.OLAux(every=1, lr=0.4)
        near(method.weights(j @ j.T), [1, 1, 1, 1])
        near(method.weights(j @ j.T), [1, 1.8, 1, 0.6])
        for _ in range(5):
            weights = method.weights(j @ j.T)
        near(weights[2:], [1, 0])
        free = polytask.OLAux(every=1, lr=0.4, clamp=False)
        for _ in range(6):
            weights = free.weights(j @ j.T)
        assert float(weights[3]) < 0

    def test_products_have_units(self):
        """The paper's rule: gradients ten times as long move the weights a hundred times as far."""
        j = rows((1, 0), (1, 1))
        moved = []
        for factor in (1, 10):
            method = polytask.OLAux(every=1)
            method.weights(j @ j.T * factor**2)
            moved.append(float(method.weights(j @ j.T)[1]) - 1)
        assert moved[1] == pytest.approx(100 * moved[0])

    def test_steps_without_the_main_task_do_not_count(self):
        j = rows((1, 0), (1, 0), (0.5, 1))
        method = polytask.OLAux(main="a", every=2, lr=0.1)
        decide(method, "abc", j)
        near(decide(method, "bc", j[1:]), [1, 1])
        decide(method, "ab", j[:2])
        near(decide(method, "abc", j), [1, 1.2, 1.05])
        near(decide(method, "bc", j[1:]), [1.2, 1.05])
        near(decide(method, "a", j[:1]), [1])

    def test_a_constant_helper_keeps_its_weight(self):
        j = rows((1, 0), (0, 0))
        method = polytask.OLAux(every=1)
        for _ in range(3):
            near(method.weights(j @ j.T), [1, 1])

    def test_wrong_options(self):
        for arguments in ({"lr": -1}, {"inner_lr": -1}, {"every": 0}, {"initial": -1}):
            with pytest.raises(UserError, match=f"{next(iter(arguments))} must be at least"):
                polytask.OLAux(**arguments)


class Apart(nn.Module):
    """Tasks a and b share a trunk, c has one of its own; d shares with c."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(3, 4)
        self.heads = nn.ModuleDict({t: nn.Linear(4, 1) for t in "abcd"})

    def losses(self, tasks):
        x = torch.ones(5, 3)
        trunks = {"a": self.one, "b": self.one, "c": self.two, "d": self.two}
        return {t: self.heads[t](trunks[t](x).tanh()).square().mean() for t in tasks}


MAIN_METHODS = ["gcs", "agem", "arml", "ol_aux", "metabalance"]


@pytest.mark.parametrize("method", MAIN_METHODS)
class TestHelpersThatShareNothing:
    def test_are_said_at_every_step(self, method):
        balancer = polytask.create_method(method, main="a")
        for _ in range(2):
            with pytest.raises(UserError, match=r"'c' shares no parameter .* main task \(a\)"):
                balancer.backward(Apart().losses("abc"))
        with pytest.raises(UserError, match="'c', 'd' shares no parameter"):
            balancer.backward(Apart().losses("abcd"))

    def test_nothing_is_updated(self, method):
        net = Apart()
        with pytest.raises(UserError):
            polytask.create_method(method, main=0).backward(net.losses("abc"))
        assert all(p.grad is None for p in net.parameters())

    def test_helpers_that_share_and_steps_without_the_main_task_pass(self, method):
        balancer = polytask.create_method(method, main="a")
        net = Apart()
        assert balancer.backward(net.losses("ab")).tasks == ("a", "b")
        assert balancer.backward(net.losses("cd")).tasks == ("c", "d")
        assert balancer.backward(net.losses("a")).tasks == ("a",)

    def test_a_frozen_shared_part_is_said_too(self, method):
        net = Apart()
        net.one.requires_grad_(False)
        with pytest.raises(UserError, match="share none that require a gradient"):
            polytask.create_method(method, main="a").backward(net.losses("ab"))


def test_auto_lambda_says_that_a_helper_shares_nothing():
    net = Apart()
    balancer = polytask.AutoLambda(primary="a")

    def losses():
        return net.losses("abc")

    with pytest.raises(UserError, match="'c' shares no parameter"):
        balancer.backward(losses(), closure=losses, validation=losses)


def test_auto_lambda_keeps_its_weights_where_held_out_data_lacks_the_primary_task():
    net, batch = small_net(), small_batch()
    balancer = polytask.AutoLambda(primary="a", lr=0.1)
    present = itertools.cycle(["abc", "bc"])

    def step():
        losses = lambda: net.losses(*batch)  # noqa: E731
        held_out = only(next(present))
        balancer.backward(losses(), closure=losses, validation=lambda: held_out(net.losses(*batch)))
        return balancer.entry("weight", "abc", 0.0, torch.zeros(3, dtype=torch.float64))

    first, second, third = step(), step(), step()
    assert torch.equal(first, second)
    assert not torch.equal(second, third)
