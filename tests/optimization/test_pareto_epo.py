"""Exact Pareto optimal search: its decisions, against scipy's linear programs."""

import numpy as np
import pytest
import torch
from gradient_rows import J2, J3, OPPOSITE, jacobian, near
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.optimization.gradients.epo import adjustment

LOSSES = np.array([0.3, 1.2, 0.7])
PREFERENCE = np.array([0.2, 0.5, 0.3])


def named(values):
    return {str(i): float(value) for i, value in enumerate(values)}


def decide(g, losses, preference, **options):
    method = polytask.EPO(preference=named(preference), **options)
    return method.weights(torch.as_tensor(g), torch.as_tensor(losses)).numpy()


def published(g, losses, preference, relax=False, eps=1e-4):
    """The decision as in the official code, each program solved by HiGHS; None without one."""
    r = preference / preference.sum()
    weighted = r * losses
    share = weighted / weighted.sum()
    imbalance = (share * np.log(share * len(share))).sum()
    a = r * (np.log(share * len(share)) - imbalance)
    pull = g @ a
    if imbalance > eps:
        objective, rows = pull, g
        if (pull > 0).any():
            least = np.where(pull > 0, -np.inf, pull)
            least[weighted == weighted.max()] = 0
        else:
            least = np.zeros_like(pull)
    else:
        objective, rows, least = g.sum(axis=0), g, np.zeros(len(g))
        if not relax:
            rows, least = np.vstack([g, pull]), np.append(least, min(pull.max(), 0))
    kept = np.isfinite(least)
    size = np.abs(rows).max(axis=1)[kept, None]
    answer = linprog(
        -objective / np.abs(objective).max(),
        A_ub=-rows[kept] / size,
        b_ub=-least[kept] / size[:, 0],
        A_eq=np.ones((1, len(g))),
        b_eq=[1.0],
        bounds=(0, None),
    )
    return answer.x if answer.status == 0 else None


class TestImbalance:
    def test_golden(self):
        r = torch.tensor(PREFERENCE)
        imbalance, a = adjustment(r * torch.tensor(LOSSES), r)
        assert imbalance == pytest.approx(0.314844, abs=5e-7)
        near(a, [-0.378076, 0.206102, -0.191285])
        assert float(a @ torch.tensor(LOSSES)) == pytest.approx(0, abs=1e-15)

    def test_a_is_along_the_slope_of_the_imbalance(self):
        losses = torch.tensor(LOSSES, requires_grad=True)
        r = torch.tensor(PREFERENCE)
        share = r * losses / (r @ losses)
        (share * (3 * share).log()).sum().backward()
        a = adjustment((r * losses).detach(), r)[1]
        near(a / (r @ losses.detach()), losses.grad.tolist(), 1e-12)

    @pytest.mark.parametrize("losses", [[0.0, 0.0, 0.0], [0.0, 2.0, 1.0], [1e-300, 1.0, 1e300]])
    def test_losses_of_nothing_stay_finite(self, losses):
        imbalance, a = adjustment(torch.tensor(losses, dtype=torch.float64), torch.ones(3))
        assert np.isfinite(imbalance)
        assert bool(a.isfinite().all())

    def test_balanced_losses_have_none(self):
        imbalance, a = adjustment(torch.full((7,), 0.1, dtype=torch.float64), torch.ones(7))
        assert imbalance == 0.0
        assert not bool(a.any())


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    tasks=st.integers(2, 9),
    balanced=st.booleans(),
    relax=st.booleans(),
)
def test_equals_the_official_programs(seed, tasks, balanced, relax):
    rng = np.random.default_rng(seed)
    j = jacobian(seed, tasks).numpy()
    r = rng.uniform(0.1, 1, tasks)
    losses = rng.uniform(0.9999, 1, tasks) / r if balanced else np.exp(rng.standard_normal(tasks))
    expected = published(j @ j.T, losses, r, relax)
    if expected is None:  # dominance with an imbalance that must grow
        assert balanced
        expected = published(j @ j.T, losses, r, relax=True)
    found = decide(j @ j.T, losses, r, relax=relax)
    scale = np.linalg.norm(j.T @ expected)
    assert np.linalg.norm(j.T @ (found - expected)) <= 1e-6 * scale


class TestSteps:
    """What a small step does, to first order: losses move by -G w."""

    @pytest.mark.parametrize("seed", range(30))
    def test_a_balancing_step_lowers_the_imbalance(self, seed):
        rng = np.random.default_rng(seed)
        j = jacobian(seed, 4).numpy()
        losses, r = np.exp(rng.standard_normal(4)), rng.uniform(0.1, 1, 4)
        gains = j @ j.T @ decide(j @ j.T, losses, r)
        a = adjustment(torch.tensor(r * losses), torch.tensor(r))[1].numpy()
        worst = (r * losses).argmax()
        assert gains[worst] >= -1e-9
        if (j @ j.T @ a > 0).any():
            assert a @ gains > 0
        else:
            assert gains.min() >= -1e-9

    @pytest.mark.parametrize("seed", range(30))
    def test_a_descending_step_hurts_nobody(self, seed):
        j = jacobian(seed, 4).numpy()
        r = np.random.default_rng(seed).uniform(0.1, 1, 4)
        gains = j @ j.T @ decide(j @ j.T, 1 / r, r)
        assert gains.min() >= -1e-9 * (j**2).sum()

    def test_relaxing_gains_no_less(self):
        lost = []
        for seed in range(40):
            j = jacobian(seed, 3).numpy()
            g = j @ j.T
            losses = np.array([1.0, 1.005, 0.995])
            strict, loose = (decide(g, losses, np.ones(3), relax=x) for x in (False, True))
            lost.append((g @ loose).sum() - (g @ strict).sum())
        assert min(lost) > -1e-9
        assert max(lost) > 1e-3

    def test_two_tasks_out_of_balance(self):
        """Orthogonal gradients: all weight on the task that is too far up."""
        near(decide(np.eye(2), [1.0, 2.0], [1.0, 1.0]), [0, 1])
        near(decide(np.eye(2), [1.0, 2.0], [3.0, 1.0]), [1, 0])

    def test_eps_says_which_mode(self):
        j = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
        losses = [1.1, 1.0]
        near(decide(j @ j.T, losses, [1.0, 1.0]), [1, 0])  # balance
        near(decide(j @ j.T, losses, [1.0, 1.0], eps=1.0, relax=True), [0, 1])  # the steepest


class TestMethod:
    @pytest.mark.parametrize("factor", [1e-12, 1e-3, 1e12])
    @pytest.mark.parametrize("units", [1e-6, 1e6])
    def test_no_absolute_scale(self, factor, units):
        for rows in (J2, J3):
            r, losses = PREFERENCE[: len(rows)], LOSSES[: len(rows)]
            plain = decide(rows @ rows.T, losses, r)
            near(decide(rows @ rows.T * factor**2, losses * units, 10 * r), plain, 1e-9)

    def test_opposite_gradients(self):
        """No step helps both: a balanced model stays, another moves as far as its pull says."""
        g = (OPPOSITE @ OPPOSITE.T).numpy()
        near(decide(g, [1.0, 1.0], [1.0, 1.0]), [0.5, 0.5])
        a = adjustment(torch.tensor([1.0, 3.0]), torch.full((2,), 0.5))[1].double().numpy()
        gains = g @ decide(g, [1.0, 3.0], [1.0, 1.0])
        np.testing.assert_allclose(gains, g @ a, rtol=1e-6)
        assert gains[0] < 0 < gains[1]

    def test_one_task_and_no_gradients(self):
        near(polytask.EPO().weights(torch.ones(1, 1)).double(), [1.0])
        near(polytask.EPO().weights(torch.zeros(2, 2)).double(), [0.5, 0.5])

    def test_absent_tasks_are_left_out(self):
        method = polytask.EPO(preference={"a": 1.0, "b": 2.0, "c": 4.0})
        losses = torch.tensor([0.5, 3.0], dtype=torch.float64)
        some = method.decide(Statistic(("c", "a"), losses, J2 @ J2.T))
        near(some, decide(J2 @ J2.T, losses.numpy(), np.array([4.0, 1.0])), 1e-12)

    def test_sum_scale(self):
        twice = polytask.EPO(scale="sum").weights(J2 @ J2.T)
        near(twice, (2 * polytask.EPO().weights(J2 @ J2.T)).tolist(), 1e-12)

    def test_wrong_arguments(self):
        with pytest.raises(UserError, match="eps of epo must be positive"):
            polytask.EPO(eps=0.0)
        with pytest.raises(UserError, match="any sign"):
            polytask.EPO(transform="log")
        with pytest.raises(UserError, match="loss of task '1' is -1"):
            polytask.EPO().weights(J2 @ J2.T, torch.tensor([1.0, -1.0]))
