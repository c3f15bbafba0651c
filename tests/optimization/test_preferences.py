"""Preferences of the methods that bargain: what they change and what stays."""

import numpy as np
import pytest
import torch
from gradient_rows import J2, J3, jacobian, near
from scipy.optimize import minimize

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.kernel.solvers import fair_weights


def named(values):
    return {str(i): float(value) for i, value in enumerate(values)}


def known(rows, names):
    return Statistic(names, torch.ones(len(rows), dtype=torch.float64), rows @ rows.T)


@pytest.mark.parametrize("tasks", [1, 2, 5, 30])
def test_nash_meets_its_equations(tasks):
    j = jacobian(tasks, tasks)
    p = torch.logspace(-2, 2, tasks, dtype=torch.float64)
    w = polytask.NashMTL(preference=named(p)).weights(j @ j.T)
    d = j.T @ w
    near((j @ d) * w, (p / p.mean()).tolist(), 1e-8)
    assert float(d @ d) == pytest.approx(tasks, rel=1e-9)


def test_nash_maximises_the_product_of_powers_of_the_improvements():
    p = np.array([2.0, 0.4, 0.6])
    d = polytask.NashMTL(preference=named(p)).combine(J3)
    unit = (d / d.norm()).numpy()

    def utility(x):
        gains = J3.numpy() @ x / np.linalg.norm(x)
        return -(p @ np.log(gains)) if gains.min() > 0 else np.inf

    best = minimize(utility, unit, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14})
    np.testing.assert_allclose(best.x / np.linalg.norm(best.x), unit, atol=1e-5)
    plain = polytask.NashMTL().combine(J3).numpy()
    assert utility(unit) < utility(plain) - 0.01


def test_equal_preferences_change_nothing():
    for scale in ("paper", "sum"):
        for value in (0.2, 7.0):
            method = polytask.NashMTL(preference=named([value] * 3), scale=scale)
            plain = polytask.NashMTL(scale=scale).weights(J3 @ J3.T)
            near(method.weights(J3 @ J3.T), plain.tolist(), 1e-9)


def test_the_improvements_of_two_orthogonal_tasks_go_like_roots_of_their_preferences():
    rows = torch.eye(2, dtype=torch.float64)
    near(
        polytask.NashMTL(preference={"0": 3.0, "1": 1.0}).combine(rows), [1.5**0.5, 0.5**0.5], 1e-9
    )


@pytest.mark.parametrize("power", [0.4, 1.0, 3.0])
def test_the_solver_takes_preferences_at_every_power(power):
    j = jacobian(3, 4)
    p = torch.tensor([0.1, 1.0, 5.0, 2.0], dtype=torch.float64)
    w = fair_weights(j @ j.T, power, p)
    near((j @ (j.T @ w)) * w**power, p.tolist(), 1e-8)


def test_a_zero_gradient_and_an_absent_task_are_left_out():
    method = polytask.NashMTL(preference={"a": 1.0, "b": 3.0, "c": 4.0})
    some = method.decide(known(J2, ("c", "a")))
    two = polytask.NashMTL(preference={"0": 4.0, "1": 1.0}).weights(J2 @ J2.T)
    near(some, two.tolist(), 1e-12)
    with_zero = torch.cat([J2, torch.zeros(1, 2, dtype=torch.float64)])
    w = method.decide(known(with_zero, ("c", "a", "b")))
    assert float(w[2]) == 0.0
    near(w[:2] / w[0], (two / two[0]).tolist(), 1e-9)


@pytest.mark.parametrize("name", ["nash_mtl", "aligned_mtl", "epo"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_preferences_are_positive_numbers(name, value):
    with pytest.raises(UserError, match=r"preference\['b'\] must be positive and finite"):
        polytask.create_method(name, preference={"a": 1.0, "b": value})


@pytest.mark.parametrize("name", ["nash_mtl", "aligned_mtl", "epo"])
def test_every_present_task_must_be_named(name):
    method = polytask.create_method(name, preference={"dept": 1.0, "seg": 1.0})
    with pytest.raises(UserError, match="did you mean 'dept'"):
        method.decide(known(J2, ("depth", "seg")))
