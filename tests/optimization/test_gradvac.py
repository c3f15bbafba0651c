"""GradVac: targets by pair of tasks, pulled in random order."""

import math

import numpy as np
import pytest
import torch
from gradient_rows import J2, jacobian, near

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.optimization.gradients.gradvac import vaccinate
from polytask.optimization.gradients.pcgrad import project

UP2 = torch.tensor([[0, 1], [0, 1]])


def naive(rows, order, targets, beta):
    """The paper's loop on the gradients themselves; returns the direction and new targets."""
    total, renewed = np.zeros(rows.shape[1]), targets.copy()
    for i in range(len(rows)):
        v = rows[i].copy()
        for j in order[i]:
            if j == i:
                continue
            size, other = np.linalg.norm(v), np.linalg.norm(rows[j])
            cosine, target = v @ rows[j] / size / other, targets[i, j]
            if cosine < target:
                lift = target * math.sqrt(1 - cosine**2) - cosine * math.sqrt(1 - target**2)
                v += size * lift / (other * math.sqrt(1 - target**2)) * rows[j]
            renewed[i, j] = (1 - beta) * target + beta * cosine
        total += v
    return total, renewed


@pytest.mark.parametrize(("target", "expected"), [(0.0, [1.5, 1.5]), (0.3, [1.028272, 1.971728])])
def test_golden(target, expected):
    a, cosines = vaccinate(J2 @ J2.T, UP2, torch.full((2, 2), target, dtype=torch.float64))
    v = a @ J2
    near(v[0], expected)
    near(v[0] @ J2[1] / v[0].norm() / J2[1].norm(), target, 1e-9)
    near(cosines[0, 1], -0.707107)


@pytest.mark.parametrize("tasks", [2, 3, 6, 20])
def test_equals_the_loop_over_gradients(tasks):
    rng = np.random.default_rng(tasks)
    rows = jacobian(tasks, tasks)
    targets = torch.tensor(rng.uniform(-0.3, 0.6, (tasks, tasks)))
    order = torch.tensor(np.stack([rng.permutation(tasks) for _ in range(tasks)]))
    a, cosines = vaccinate(rows @ rows.T, order, targets)
    expected, renewed = naive(rows.numpy(), order.numpy(), targets.numpy(), 0.1)
    np.testing.assert_allclose((a.sum(dim=0) @ rows).numpy(), expected, atol=1e-9)
    apart = ~torch.eye(tasks, dtype=torch.bool)
    found = torch.lerp(targets, cosines, 0.1)[apart].numpy()
    np.testing.assert_allclose(found, renewed[apart.numpy()], atol=1e-9)


def test_with_targets_of_zero_it_is_pcgrad():
    rows = jacobian(4, 7)
    g = rows @ rows.T
    order = torch.rand(7, 7, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    torch.testing.assert_close(vaccinate(g, order, torch.zeros_like(g))[0], project(g, order))
    first = polytask.GradVac(generator=torch.Generator().manual_seed(3)).weights(g)
    second = polytask.PCGrad(generator=torch.Generator().manual_seed(3)).weights(g)
    torch.testing.assert_close(first, second)


def test_targets_follow_the_cosines_by_name():
    balancer = polytask.GradVac(beta=0.5)
    g = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    for names in (("a", "b"), ("b", "a")):
        balancer.decide(Statistic(names, torch.ones(2), g))
    (key,) = balancer.table
    assert key == ("target", '["a", "b"]')
    near(balancer.table[key][0, 1], 0.45)
    near(balancer.table[key][1, 0], 0.45)
    # A third task enters; the pair that is absent keeps its target.
    balancer.decide(Statistic(("c", "b"), torch.ones(2), g))
    (key,) = balancer.table
    assert key == ("target", '["a", "b", "c"]')
    near(balancer.table[key][0, 1], 0.45)
    near(balancer.table[key][2, 1], 0.3)
    near(balancer.table[key][0, 2], 0.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_collinear_gradients_stay_finite_for_ever(sign):
    balancer = polytask.GradVac(beta=0.9)
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.3, -1.0]], dtype=torch.float64)
    rows[1] *= sign
    for _ in range(200):
        d = balancer.combine(rows)
    assert torch.isfinite(d).all()
    if sign > 0:
        near(balancer.combine(rows[:2]), [2.0, 4.0], 1e-9)


def test_a_cosine_below_its_mean_is_pulled_up():
    balancer = polytask.GradVac(beta=1.0)
    near_rows = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
    balancer.combine(near_rows)
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    v = vaccinate(apart @ apart.T, UP2, torch.full((2, 2), 0.8, dtype=torch.float64))[0] @ apart
    near(balancer.combine(apart), v.sum(dim=0).tolist(), 1e-9)


def test_beta_is_a_share():
    with pytest.raises(UserError, match=r"in \[0, 1\]"):
        polytask.GradVac(beta=1.5)
