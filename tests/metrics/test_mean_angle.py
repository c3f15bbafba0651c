"""The mean angle between directions, against closed forms and an oracle of another formula."""

import numpy as np
import pytest
import torch

from polytask.errors import NonFiniteError, UserError
from polytask.metrics import Undefined, find_metric
from polytask.tasks import Task


def score(task: Task, output: torch.Tensor, target: torch.Tensor, parts: int = 1):
    accumulator = find_metric("mean_angle", "regression").fresh(task)
    for o, t in zip(output.chunk(parts), target.chunk(parts), strict=True):
        accumulator.update(o, t)
    return accumulator.compute()


NORMAL = Task("normal", "regression", size=3, metrics=("mean_angle", "rmse"))


@pytest.mark.parametrize(
    ("predicted", "degrees"),
    [
        ([0, 0, 1], 0),
        ([0, 0, 7], 0),
        ([0, 1, 0], 90),
        ([0, 1, 1], 45),
        ([0, 0, -2], 180),
        ([0, 1, 3**0.5], 30),
        ([0, 0, 0], 90),
    ],
)
def test_closed_forms(predicted, degrees):
    """Lengths do not matter; a prediction of zeros points nowhere and counts as 90."""
    output = torch.tensor([predicted], dtype=torch.float64)
    assert score(NORMAL, output, torch.tensor([[0.0, 0.0, 1.0]])) == pytest.approx(degrees)


def test_tiny_angles_keep_their_digits():
    """The arc cosine of the inner product would answer 0 or 1.2e-6 here."""
    angle = 1e-9
    output = torch.tensor([[np.sin(angle), 0.0, np.cos(angle)]], dtype=torch.float64)
    found = score(NORMAL, output, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))
    assert found == pytest.approx(np.degrees(angle), rel=1e-6)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_against_the_arc_cosine_in_target_units_and_in_batches(size):
    generator = np.random.default_rng(size)
    target = torch.tensor(generator.normal(1, 2, (60, size)), dtype=torch.float32)
    target[5, 0] = torch.nan  # no direction without all of its parts
    target[9] = torch.nan
    target[11] = 0.0
    task = Task("v", "regression", size=size).fitted(target)
    output = torch.tensor(generator.normal(size=(60, size)))
    p = output.numpy() * np.array(task.std) + np.array(task.mean)
    t = target.double().numpy()
    keep = ~np.isnan(t).any(1) & (t != 0).any(1)
    cosine = (
        (p * t)[keep].sum(1) / np.linalg.norm(p[keep], axis=1) / np.linalg.norm(t[keep], axis=1)
    )
    expected = np.degrees(np.arccos(cosine)).mean()
    assert keep.sum() == 57
    for parts in (1, 7):
        assert score(task, output, target, parts) == pytest.approx(expected, rel=1e-9)


def test_dense_maps_give_one_angle_per_pixel():
    """[N, 3, H, W]: half of the pixels right, a quarter off by 90, a quarter not labelled."""
    target = torch.zeros(2, 3, 4, 4)
    target[:, 2] = 1.0
    output = target.clone()
    output[:, :, 0] = torch.tensor([1.0, 0.0, 0.0])[None, :, None]
    target[:, :, 3] = torch.nan
    output[:, :, 3] = torch.inf
    assert score(NORMAL, output, target) == pytest.approx(30.0)


def test_undefined_rather_than_wrong():
    nothing = torch.full((4, 3), torch.nan)
    assert score(NORMAL, torch.zeros(4, 3), nothing) == Undefined("no labelled item")
    assert score(NORMAL, torch.ones(4, 3), torch.zeros(4, 3)) == Undefined("no labelled item")
    one = Task("t", "regression", metrics=("rmse", "mean_angle"))
    found = score(one, torch.ones(4, 1), torch.ones(4))
    assert found == Undefined("an angle needs a task of at least two outputs")


def test_it_is_refused_as_the_judge_of_a_single_number():
    with pytest.raises(UserError, match=r"'t': mean_angle .* at least 2 outputs; found size=1"):
        Task("t", "regression", metrics="mean_angle")
    assert NORMAL.primary.direction == "min"


def test_a_diverged_model_is_an_error():
    with pytest.raises(NonFiniteError, match="mean_angle"):
        score(NORMAL, torch.full((1, 3), torch.nan), torch.ones(1, 3))


def test_trivial_is_the_angle_to_the_mean_direction():
    train = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    task = Task("v", "regression", size=2, metrics="mean_angle").fitted(train)
    assert task.trivial(train, train) == pytest.approx(45.0)
