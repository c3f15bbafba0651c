"""Regression scores against float64 oracles, in target units, over labelled elements."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from polytask.errors import NonFiniteError, UserError
from polytask.metrics import Undefined, find_metric
from polytask.tasks import Task

NAMES = ("rmse", "mse", "mae", "r2", "pearson")


def score(task: Task, name: str, output, target, parts: int = 1):
    accumulator = find_metric(name, task.kind).fresh(task)
    for o, t in zip(output.chunk(parts), target.chunk(parts), strict=True):
        accumulator.update(o, t)
    return accumulator.compute()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("offset", [0.0, 1990.0])
def test_against_sklearn_in_target_units(rng, offset):
    t = offset + 10 * rng.normal(size=200)
    target = torch.tensor(t, dtype=torch.float32)
    task = Task("year", "regression").fitted(target)
    z = rng.normal(size=200)
    y, p = target.double().numpy(), z * task.std + task.mean
    output = torch.tensor(z)[:, None]
    assert score(task, "rmse", output, target) == pytest.approx(sk.root_mean_squared_error(y, p))
    assert score(task, "mse", output, target) == pytest.approx(sk.mean_squared_error(y, p))
    assert score(task, "mae", output, target) == pytest.approx(sk.mean_absolute_error(y, p))
    assert score(task, "r2", output, target) == pytest.approx(sk.r2_score(y, p), rel=1e-9)
    expected = np.corrcoef(y, p)[0, 1]
    assert score(task, "pearson", output, target) == pytest.approx(expected, abs=1e-9)


def test_variance_survives_a_large_offset_without_fitting(rng):
    """Sums of squares in float32 would lose it: torchmetrics' own R2Score does."""
    t = torch.tensor(1e5 + rng.integers(0, 4, size=1000), dtype=torch.float32)
    output = (t + 1)[:, None]
    expected = sk.r2_score(t.double().numpy(), (t + 1).double().numpy())
    assert score(Task("t", "regression"), "r2", output, t) == pytest.approx(expected, rel=1e-4)


def test_several_outputs_with_missing_elements(rng):
    target = torch.tensor(rng.normal(size=(50, 3)) * [1, 10, 100] + [0, 5, 50], dtype=torch.float32)
    target[torch.tensor(rng.random((50, 3)) < 0.4)] = torch.nan
    target[3] = torch.nan
    task = Task("xyz", "regression", size=3).fitted(target)
    output = torch.tensor(rng.normal(size=(50, 3)))
    p = output.numpy() * np.array(task.std) + np.array(task.mean)
    y = target.double().numpy()
    oracle = {
        "rmse": sk.root_mean_squared_error,
        "mae": sk.mean_absolute_error,
        "mse": sk.mean_squared_error,
        "r2": sk.r2_score,
    }
    for name, function in oracle.items():
        columns = []
        for i in range(3):
            keep = ~np.isnan(y[:, i])
            columns.append(function(y[keep, i], p[keep, i]))
        for parts in (1, 7):
            found = score(task, name, output, target, parts)
            assert found == pytest.approx(np.mean(columns), rel=1e-9), name


def test_an_output_without_labels_is_left_out_of_the_mean():
    task = Task("xy", "regression", size=2)
    target = torch.tensor([[1.0, torch.nan], [3.0, torch.nan]])
    output = torch.tensor([[2.0, torch.nan], [5.0, torch.inf]])
    assert score(task, "mae", output, target) == pytest.approx(1.5)
    assert score(task, "rmse", output, target) == pytest.approx(np.sqrt(2.5))


def test_undefined_cases():
    task = Task("t", "regression")
    none = torch.full((3,), torch.nan)
    for name in NAMES:
        assert score(task, name, torch.zeros(3, 1), none) == Undefined("no labelled item")
    flat = torch.full((3,), 0.1)
    for name in ("r2", "pearson"):
        found = score(task, name, torch.rand(3, 1), flat)
        assert found == Undefined("the labelled targets are constant")
    assert score(task, "r2", torch.rand(1, 1), torch.tensor([1.0])) == Undefined(
        "the labelled targets are constant"
    )
    found = score(task, "pearson", torch.ones(3, 1), torch.tensor([1.0, 2.0, 3.0]))
    assert found == Undefined("the predictions are constant")
    assert score(task, "rmse", torch.zeros(3, 1), flat) == pytest.approx(0.1)


def test_constant_target_across_batches_and_variation_across_batches():
    task = Task("t", "regression")
    two = torch.tensor([1.0, 1.0, 2.0, 2.0])
    assert score(task, "r2", two[:, None], two, parts=2) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_non_finite_output_raises_and_names_the_task(bad):
    task = Task("depth", "regression")
    accumulator = task.primary.fresh(task)
    with pytest.raises(NonFiniteError, match=r"'depth'.*1 of 2 labelled"):
        accumulator.update(torch.tensor([[bad], [1.0], [2.0]]), torch.tensor([1.0, 2.0, torch.nan]))


def test_an_infinite_target_raises():
    task = Task("depth", "regression")
    with pytest.raises(NonFiniteError, match="target is infinite"):
        task.primary.fresh(task).update(torch.zeros(1, 1), torch.tensor([torch.inf]))


def test_overflow_is_an_error_not_a_number():
    task = Task("t", "regression")
    accumulator = find_metric("mse", "regression").fresh(task)
    accumulator.update(torch.tensor([[1e200]], dtype=torch.float64), torch.tensor([0.0]))
    with pytest.raises(NonFiniteError, match="'mse' came out as inf"):
        accumulator.compute()


def test_half_precision_outputs_are_upcast():
    task = Task("t", "regression", mean=1000.0, std=100.0)
    target = torch.tensor([1001.0, 903.0])
    for dtype in (torch.float16, torch.bfloat16):
        output = torch.tensor([[0.0], [-1.0]], dtype=dtype)
        assert score(task, "mae", output, target) == pytest.approx(2.0)


def test_dense_targets_equal_their_pixels(rng):
    task = Task("depth", "regression", mean=3.0, std=2.0)
    target = torch.tensor(rng.normal(size=(4, 5, 6)), dtype=torch.float32)
    target[torch.tensor(rng.random((4, 5, 6)) < 0.3)] = torch.nan
    output = torch.tensor(rng.normal(size=(4, 1, 5, 6)), dtype=torch.float32)
    for name in NAMES:
        flat = score(task, name, output.reshape(-1, 1), target.reshape(-1))
        assert score(task, name, output, target, parts=2) == pytest.approx(flat)
        assert score(task, name, output, target[:, None]) == pytest.approx(flat)


def test_shapes_that_would_broadcast_are_refused():
    task = Task("t", "regression")
    with pytest.raises(UserError, match=r"found 3 outputs and 2 targets"):
        task.primary.fresh(task).update(torch.zeros(3, 1), torch.zeros(2))
