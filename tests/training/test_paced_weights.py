"""Self-paced weights in closed form: against a solver, a grid, and the optimality conditions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from polytask.tasks import Task
from polytask.training._pace import element_losses, paced_loss, paced_weights, row_losses


def objective(weights: np.ndarray, losses: np.ndarray, threshold: float, sparsity: float) -> float:
    return float(weights @ (losses - threshold) + sparsity * np.linalg.norm(weights))


def weigh(losses: np.ndarray, threshold: float, sparsity: float) -> np.ndarray:
    return paced_weights(torch.from_numpy(losses), threshold, sparsity).numpy()


def solved(losses: np.ndarray, threshold: float, sparsity: float) -> float:
    """The least value that a general solver finds; the objective is convex, and 0 at 0."""

    def slope(weights: np.ndarray) -> np.ndarray:
        return losses - threshold + sparsity * weights / np.linalg.norm(weights)

    def value(weights: np.ndarray) -> float:
        return objective(weights, losses, threshold, sparsity)

    bounds = [(1e-12, 1.0)] * len(losses)
    start = np.full(len(losses), 0.5)
    options = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 5000, "maxfun": 100_000}
    return min(0.0, minimize(value, start, jac=slope, bounds=bounds, options=options).fun)


@pytest.mark.parametrize("seed", range(12))
def test_no_solver_finds_better_weights(seed: int) -> None:
    draw = np.random.default_rng(seed)
    losses = draw.exponential(1.0, draw.integers(2, 15))
    threshold = float(draw.uniform(0.3, 2.0))
    gain = float(np.linalg.norm(np.maximum(threshold - losses, 0)))
    for share in (0.05, 0.3, 0.6, 0.9, 0.99, 1.2):
        sparsity = share * gain
        ours = objective(weigh(losses, threshold, sparsity), losses, threshold, sparsity)
        assert ours == pytest.approx(solved(losses, threshold, sparsity), abs=1e-6)


def test_no_weights_of_a_fine_grid_are_better() -> None:
    losses, threshold, sparsity = np.array([0.1, 0.55, 0.8]), 1.0, 0.7
    marks = np.linspace(0, 1, 41)
    grid = np.stack(np.meshgrid(marks, marks, marks), -1).reshape(-1, 3)
    values = grid @ (losses - threshold) + sparsity * np.linalg.norm(grid, axis=1)
    ours = weigh(losses, threshold, sparsity)
    assert objective(ours, losses, threshold, sparsity) <= values.min() + 1e-12
    np.testing.assert_allclose(grid[values.argmin()], ours, atol=1 / 40)


def test_a_case_worked_out_by_hand() -> None:
    """Margins 1, 0.6, 0: the first is full, ||w||^2 = 1 / (1 - 0.36), the second 0.6 * 1.25."""
    losses = np.array([2.0, 0.0, 0.4])
    np.testing.assert_allclose(weigh(losses, 1.0, 1.0), [0.0, 1.0, 0.75])
    np.testing.assert_allclose(weigh(losses, 1.0, 0.8), [0.0, 1.0, 1.0])
    np.testing.assert_array_equal(weigh(losses, 1.0, math.sqrt(1.36) + 1e-9), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(weigh(losses, 1.0, 0.0), [0.0, 1.0, 1.0])
    np.testing.assert_allclose(weigh(np.array([0.3]), 1.0, 0.6), [1.0])
    np.testing.assert_array_equal(weigh(np.full(4, 0.5), 1.0, 0.9), np.ones(4))


numbers = st.floats(0, 10, allow_nan=False).map(lambda value: round(value, 3))


@given(st.lists(numbers, min_size=1, max_size=30), st.floats(0.01, 12), st.floats(0.001, 12))
def test_the_optimality_conditions_hold(
    rows: list[float], threshold: float, sparsity: float
) -> None:
    losses = np.array(rows)
    weights = weigh(losses, threshold, sparsity)
    assert ((weights >= 0) & (weights <= 1)).all()
    norm = np.linalg.norm(weights)
    if norm == 0:
        assert np.linalg.norm(np.maximum(threshold - losses, 0)) <= sparsity * (1 + 1e-9)
        return
    slope = losses - threshold + sparsity * weights / norm
    near = 1e-7 * (1 + threshold + sparsity)
    assert (slope[weights == 1] <= near).all()
    assert (slope[weights == 0] >= -near).all()
    assert (np.abs(slope[(weights > 0) & (weights < 1)]) <= near).all()
    # Easier examples count no less, and hard ones nothing.
    assert (np.diff(weights[np.argsort(losses, kind="stable")]) <= 1e-12).all()
    assert (weights[losses >= threshold] == 0).all()


@given(st.lists(numbers, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(rows: list[float], random) -> None:
    losses = np.array(rows)
    order = np.array(random.sample(range(len(rows)), len(rows)))
    np.testing.assert_allclose(weigh(losses[order], 3.0, 2.0), weigh(losses, 3.0, 2.0)[order])


def test_a_growing_threshold_lets_everything_in() -> None:
    losses = np.random.default_rng(0).exponential(1.0, 50)
    taking = [(weigh(losses, t, 2.0) > 0).sum() for t in (0.01, 0.5, 1.0, 2.0, 4.0, 8.0)]
    assert taking == sorted(taking)
    assert taking[0] == 0
    np.testing.assert_array_equal(weigh(losses, losses.max() + 2.0, 2.0), np.ones(50))


def test_an_infinite_loss_takes_no_part() -> None:
    found = weigh(np.array([0.1, math.inf, 0.2]), 1.0, 0.3)
    np.testing.assert_array_equal(found, [1.0, 0.0, 1.0])


nan = math.nan
CASES: list[tuple[Task, list[int], Tensor]] = [
    (Task("a", "regression"), [4, 1], torch.tensor([0.5, nan, 2.0, -1.0])),
    (Task("a", "regression"), [4, 1], torch.tensor([[0.5], [nan], [2.0], [-1.0]])),
    (Task("a", "regression", size=2), [3, 2], torch.tensor([[0.5, nan], [nan, nan], [1.0, 2.0]])),
    (Task("a", "binary"), [4, 1], torch.tensor([1, -100, 0, 1])),
    (Task("a", "multiclass", classes=(0, 1, 2)), [3, 3], torch.tensor([2, -100, 0])),
    (Task("a", "multilabel", classes=("x", "y")), [3, 2],
     torch.tensor([[1.0, 0.0], [nan, nan], [nan, 1.0]])),
    (Task("a", "regression"), [2, 1, 2, 2],
     torch.tensor([[[1.0, nan], [nan, 2.0]], [[nan, nan], [nan, 0.0]]])),
    (Task("a", "multiclass", classes=(0, 1, 2)), [2, 3, 2, 2],
     torch.tensor([[[1, -100], [2, 0]], [[-100, -100], [-100, -100]]])),
    (Task("a", "multilabel", classes=("x", "y")), [2, 2, 3],
     torch.tensor([[[1.0, nan, 0.0], [nan, nan, 1.0]], [[0.0, 1.0, 1.0], [1.0, 0.0, nan]]])),
    (Task("a", "custom", loss_function=lambda o, t: (o - t).square().mean(1), size=2), [3, 2],
     torch.tensor([[1.0, 2.0], [nan, nan], [0.0, 1.0]])),
]  # fmt: skip


@pytest.mark.parametrize(("task", "shape", "target"), CASES)
def test_losses_of_rows_are_those_of_the_rows_alone(
    task: Task, shape: list[int], target: Tensor
) -> None:
    output = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = row_losses(task, output, target)
    for row, own in enumerate(found):
        value, count = task.loss(output[row : row + 1], target[row : row + 1])
        assert bool(own.isnan()) == (count == 0)
        if count:
            assert own.item() == pytest.approx(value.item(), rel=1e-5)
    # With weights of 1 it is the loss itself, to the bit, and its gradient too.
    paced, plain = (
        paced_loss(task, output, target, torch.ones(len(target))),
        task.loss(output, target),
    )
    assert torch.equal(paced.value, plain.value)
    assert paced.count == plain.count
    (ours,), (theirs,) = (torch.autograd.grad(loss.value, output) for loss in (paced, plain))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("task", "shape", "target"), CASES)
def test_a_weighted_loss_is_linear_in_the_weights(
    task: Task, shape: list[int], target: Tensor
) -> None:
    output = torch.randn(shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    losses, rows = element_losses(task, output, target)
    weights = torch.linspace(0.25, 1.0, len(target))
    value, count = paced_loss(task, output, target, weights)
    by_hand = sum(weights[row] * loss for loss, row in zip(losses, rows, strict=True)) / count
    assert value.item() == pytest.approx(by_hand.item(), rel=1e-5)
    nothing = paced_loss(task, output, target, torch.zeros(len(target)))
    assert nothing.count == 0
    (slope,) = torch.autograd.grad(nothing.value, output)
    assert not slope.any()


def test_a_batch_without_labels_has_no_elements() -> None:
    task = Task("a", "regression")
    target = torch.tensor([nan, nan])
    assert row_losses(task, torch.zeros(2, 1), target).isnan().all()
    assert paced_loss(task, torch.zeros(2, 1), target, torch.ones(2)).count == 0
