"""The surrogate's groups: solved to the minimum in few steps, whatever the loss and the scales."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.autograd.functional import hessian

from polytask.tasks import Task
from polytask.training import _surrogate_solve as solve
from polytask.training._surrogate_curvature import DAMPING, curvature, straight
from polytask.training._surrogate_linear import Linear
from polytask.training._surrogate_solve import Point, Surrogate, loss

ITEMS, WAYS = 80, 6


def wavy(output, target):
    """A loss that is not convex."""
    return torch.cos(3 * (output - target)).mean(1)


class Once(torch.autograd.Function):
    """The square, with a derivative that has none itself."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


TASKS = {
    "number": Task("number", "regression"),
    "several": Task("several", "regression", size=2, loss_function="huber"),
    "far": Task("far", "regression", loss_function="l1"),
    "yes": Task("yes", "binary"),
    "which": Task("which", "multiclass", classes=(0, 1, 2, 3)),
    "tags": Task("tags", "multilabel", classes=("a", "b", "c")),
    "own": Task("own", "custom", size=2, loss_function=wavy),
    "once": Task("once", "custom", size=2, loss_function=lambda o, t: Once.apply(o - t).mean(1)),
}
SMOOTH = ("number", "several", "yes", "which", "tags")


def linear(name, seed=0, scales=(1.0,) * WAYS, outputs=0.0):
    """Items of a task with derivatives that explain part of the labels, some missing."""
    task, chance = TASKS[name], np.random.default_rng(seed)
    width = task.output_size
    moves = chance.normal(0.3, 1.0, size=(ITEMS, width, WAYS)) * scales
    told = moves @ (chance.normal(size=WAYS) / scales) + chance.normal(size=(ITEMS, width))
    if task.kind == "multiclass":
        target = told.argmax(1)
    elif task.kind == "binary":
        target = (told[:, 0] > 0).astype(int)
    elif task.kind == "multilabel":
        target = np.where(chance.random(told.shape) < 0.2, np.nan, told > 0)
    else:
        target = told
    start = outputs * chance.normal(size=(ITEMS, width))
    return Linear(*(torch.from_numpy(np.asarray(part)) for part in (start, moves, target)))


def coordinates(name, one, constants):
    """The task's loss as a function of its coordinates, and how many there are."""
    width = TASKS[name].output_size if constants else 0

    def value(at):
        return loss(TASKS[name], one, Point(at[:WAYS], at[WAYS:]))

    return value, torch.zeros(WAYS + width, dtype=torch.float64)


@pytest.mark.parametrize("constants", [True, False])
@pytest.mark.parametrize("outputs", [0.0, 1.0])
@pytest.mark.parametrize("name", SMOOTH)
def test_it_is_the_second_derivative(name, outputs, constants):
    one = linear(name, outputs=outputs)
    found = curvature(TASKS[name], one, constants)
    value, zero = coordinates(name, one, constants)
    exact = hessian(value, zero)
    assert (found - exact).norm() < 3 * DAMPING * exact.trace()
    assert float(torch.linalg.eigvalsh(found - exact)[0]) > -1e-12 * float(exact.trace())


@pytest.mark.parametrize("name", ["far", "own", "once"])
def test_where_it_is_of_no_use_every_output_counts_alike(name):
    one = linear(name)
    found = curvature(TASKS[name], one, constants=False)
    moves = one.derivatives.flatten(0, 1)
    torch.testing.assert_close(found, moves.T @ moves / ITEMS)


def test_straight_coordinates_bend_by_one():
    chance = np.random.default_rng(0)
    root = torch.from_numpy(chance.normal(size=(20, 20)) * np.logspace(-3, 3, 20))
    bend = root.T @ root
    way = straight(bend)
    floor = 1e-9 * bend.diagonal().max() * way.T @ way
    torch.testing.assert_close(
        way.T @ bend @ way + floor, torch.eye(20).double(), atol=1e-6, rtol=0
    )
    assert torch.equal(straight(torch.zeros(3, 3)), torch.eye(3))


def surrogate(names, ridge, constants=True, **options):
    train = {name: linear(name, **options) for name in names}
    held_out = {name: linear(name, seed=0, **options) for name in names}
    tasks = {name: TASKS[name] for name in names}
    return Surrogate(tasks, train, held_out, WAYS, 0, ridge, constants)


@pytest.mark.parametrize("spread", [1.0, 100.0])
@pytest.mark.parametrize(
    "group", [("number", "yes"), ("which", "tags"), ("several", "which", "far"), ("far",)]
)
def test_groups_are_solved_to_the_minimum(group, spread):
    scales = np.geomspace(spread, 1 / spread, WAYS)
    ridge = 0.01
    found = surrogate(group, ridge, scales=scales).losses(group)
    widths = [TASKS[name].output_size for name in group]
    ends = WAYS + np.cumsum([0, *widths])
    data = {name: linear(name, scales=scales) for name in group}

    def parts(values):
        return [
            loss(TASKS[n], data[n], Point(values[:WAYS], values[low:high]))
            for n, low, high in zip(group, ends, ends[1:], strict=False)
        ]

    units = torch.ones(ends[-1], dtype=torch.float64)
    units[:WAYS] = torch.from_numpy(1 / scales)

    def objective(values):
        at = torch.from_numpy(values).requires_grad_()
        value = sum(parts(units * at)) + ridge * (units * at)[:WAYS].square().sum()
        value.backward()
        return value.item(), at.grad.numpy()

    # A method of another kind, in coordinates of one scale.
    best = minimize(objective, np.zeros(ends[-1]), jac=True, method="BFGS", options={"gtol": 1e-7})
    at = units * torch.from_numpy(best.x)
    oracle = {name: float(part) for name, part in zip(group, parts(at), strict=True)}
    assert found == pytest.approx(oracle, rel=5e-3 if "far" in group else 1e-5)


@pytest.mark.parametrize("name", SMOOTH)
def test_few_steps_do_whatever_the_scales(name, monkeypatch):
    calls = []
    plain = solve.loss
    monkeypatch.setattr(solve, "loss", lambda *given: calls.append(1) or plain(*given))
    numbers = []
    for spread in (1.0, 1e3):
        scales = np.geomspace(spread, 1 / spread, WAYS)
        calls.clear()
        surrogate([name], 1e-9, scales=scales).losses([name])
        numbers.append(len(calls))
    assert max(numbers) < 60
    if name == "number":  # quadratic: a step and a look, for the constants and for all
        assert numbers[0] <= 8
