"""The running mean and spread of targets, and the layer that is rewritten with them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from polytask.tasks import Task
from polytask.training._target_scale import TargetScale
from polytask.training.popart import PopArt

CPU = torch.device("cpu")
RAW = Task("y", "regression")


def scale_of(task: Task = RAW, **options: Any) -> TargetScale:
    return TargetScale(task, PopArt(**options), CPU)


def layer_of(outputs: int = 1, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(5, outputs).to(dtype).requires_grad_(False)


def progression() -> Tensor:
    return torch.tensor(load_diabetes().target)


def one_by_one(labels: Tensor, beta: float, mean: float = 0.0, square: float = 1.0) -> tuple:
    """The equations of the paper, label by label."""
    for y in labels.tolist():
        mean, square = (1 - beta) * mean + beta * y, (1 - beta) * square + beta * y * y
    return mean, (square - mean**2) ** 0.5


def test_labels_one_by_one_follow_the_paper() -> None:
    scale, layer, labels = scale_of(start="unit", beta=0.01), layer_of(), progression()[:200]
    for label in labels:
        scale.observe(label[None], layer)
    mean, std = one_by_one(labels, 0.01)
    assert float(scale.mean) == pytest.approx(mean, rel=1e-10)
    assert float(scale.std) == pytest.approx(std, rel=1e-10)


def test_a_batch_moves_the_averages_as_its_labels_would_on_average() -> None:
    labels = progression()[:40]
    beta, n = 0.02, len(labels)
    scale = scale_of(start="unit", beta=beta)
    scale.observe(labels, layer_of())
    kept = (1 - beta) ** n
    mean = (1 - kept) * float(labels.mean())
    square = kept + (1 - kept) * float(labels.square().mean())
    assert float(scale.mean) == pytest.approx(mean, rel=1e-12)
    assert float(scale.std) == pytest.approx((square - mean**2) ** 0.5, rel=1e-12)


def test_the_corrected_start_is_the_weighted_mean_of_what_was_seen() -> None:
    parts, beta = progression().split(50), 3e-3
    scale = scale_of(beta=beta)
    for part in parts:
        scale.observe(part, layer_of())
    sizes = np.array([len(part) for part in parts])
    later = np.concatenate([np.cumsum(sizes[::-1])[::-1][1:], [0]])
    weights = (1 - (1 - beta) ** sizes) * (1 - beta) ** later
    weights /= weights.sum()
    first, second = (weights @ [float(p.pow(k).mean()) for p in parts] for k in (1, 2))
    assert float(scale.mean) == pytest.approx(first, rel=1e-12)
    assert float(scale.std) == pytest.approx((second - first**2) ** 0.5, rel=1e-10)


@pytest.mark.parametrize("beta", [1e-6, 3e-4, 1.0])
def test_the_first_batch_gives_its_own_mean_and_spread(beta: float) -> None:
    scale, labels = scale_of(beta=beta), progression()[:32]
    scale.observe(labels, layer_of())
    assert float(scale.mean) == pytest.approx(float(labels.mean()), rel=1e-12)
    assert float(scale.std) == pytest.approx(float(labels.std(correction=0)), rel=1e-12)


def test_beta_of_1_forgets_all_but_the_newest_batch() -> None:
    scale, labels = scale_of(beta=1, start="unit"), progression()
    for part in labels.split(64):
        scale.observe(part, layer_of())
    assert float(scale.mean) == pytest.approx(float(part.mean()), rel=1e-12)
    assert float(scale.std) == pytest.approx(float(part.std(correction=0)), rel=1e-12)


@given(
    dtype=st.sampled_from([torch.float32, torch.float64]),
    outputs=st.integers(1, 3),
    factor=st.floats(1e-2, 1e4),
    beta=st.floats(1e-4, 1.0),
    seed=st.integers(0, 10**6),
)
def test_an_update_leaves_the_outputs_as_they_are(
    dtype: torch.dtype, outputs: int, factor: float, beta: float, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    task = Task("y", "regression", size=outputs)
    scale, layer = scale_of(task, start="unit", beta=beta), layer_of(outputs, dtype, seed)
    x = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    for _ in range(3):
        target = factor * torch.randn(20, outputs, generator=draw, dtype=torch.float64) + factor
        before = scale(layer, (), layer(x.to(dtype)))
        moved = scale.std
        scale.observe(target, layer)
        after = scale(layer, (), layer(x.to(dtype)))
        size = float(before.abs().max()) + float(scale.mean.abs().max())
        bound = 1e-6 if dtype == torch.float32 else 1e-12
        assert float((after - before).abs().max()) <= bound * max(size, 1.0)
        assert not torch.equal(moved, scale.std)


def test_a_convolution_is_rewritten_by_channel() -> None:
    task = Task("map", "regression", size=2, places=(4, 4))
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 2, 1).double(), torch.randn(5, 3, 4, 4, dtype=torch.float64)
    scale = scale_of(task, start="unit", beta=0.5)
    before = scale(layer, (), layer(x))
    target = torch.stack([torch.randn(5, 4, 4) * 90, torch.randn(5, 4, 4) + 7], dim=1)
    scale.observe(target, layer)
    assert torch.allclose(scale(layer, (), layer(x)), before, rtol=0, atol=1e-12)
    assert scale.std[0] > 20 * scale.std[1]
    alone = scale_of(start="unit", beta=0.5)
    alone.observe(target[:, 0], layer_of())
    assert float(alone.mean) == pytest.approx(float(scale.mean[0]), rel=1e-12)


def test_missing_and_infinite_labels_do_not_count() -> None:
    labels = progression()[:60]
    holes = torch.full((30,), torch.nan, dtype=torch.float64)
    holes[3] = torch.inf
    mixed = torch.cat([labels, holes])[torch.randperm(90, generator=torch.Generator())]
    one, other = scale_of(), scale_of()
    layer, other_layer = layer_of(), layer_of()
    for _ in range(2):
        one.observe(labels, layer)
        other.observe(mixed, other_layer)
    assert float(one.mean) == pytest.approx(float(other.mean), rel=1e-12)
    assert float(one.std) == pytest.approx(float(other.std), rel=1e-12)
    untouched = {name: value.clone() for name, value in other.state_dict().items()}
    other.observe(holes, other_layer)
    assert all(torch.equal(value, untouched[name]) for name, value in other.state_dict().items())
    assert torch.allclose(layer.weight, other_layer.weight, rtol=1e-10)


def test_each_output_counts_its_own_labels() -> None:
    both = Task("y", "regression", size=2)
    target = torch.stack([progression()[:50], progression()[50:100] * 7], dim=1)
    target[10:, 1] = torch.nan
    scale, layer = scale_of(both, beta=0.01), layer_of(2)
    for part in target.split(25):
        scale.observe(part, layer)
    for column in range(2):
        alone = scale_of(beta=0.01)
        for part in target[:, column].split(25):
            alone.observe(part, layer_of())
        assert float(alone.mean) == pytest.approx(float(scale.mean[column]), rel=1e-12)
        assert float(alone.std) == pytest.approx(float(scale.std[column]), rel=1e-12)


def test_a_spread_far_from_zero_keeps_its_digits() -> None:
    labels = 1e8 + torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(50)
    scale = scale_of()
    for part in labels.split(20):
        scale.observe(part, layer_of())
    assert float(scale.std) == pytest.approx(1.0, rel=1e-9)


def test_rounding_is_no_spread() -> None:
    scale = scale_of(RAW.fitted(torch.tensor([0.1, 0.7])))
    scale.observe(torch.full((7,), 0.3), layer_of())
    assert float(scale.std) == 1


def test_until_labels_differ_there_is_no_spread_and_nothing_is_rewritten() -> None:
    scale, layer = scale_of(), layer_of()
    at_first = copy.deepcopy(layer)
    scale.observe(torch.full((8,), 5.0), layer)
    assert float(scale.std) == 1
    assert float(scale.mean) == pytest.approx(5)
    scale.observe(torch.tensor([5.0, 9.0]), layer)
    assert float(scale.std) > 0.1
    assert torch.equal(layer.weight, at_first.weight)
    scale.observe(torch.tensor([50.0, 90.0]), layer)
    assert not torch.equal(layer.weight, at_first.weight)


@pytest.mark.parametrize(
    ("factor", "std", "side"), [(1e-6, 1e-4, "below"), (1e9, 1e6, "above"), (1.0, None, "")]
)
def test_the_spread_has_bounds(factor: float, std: float | None, side: str) -> None:
    scale, labels = scale_of(), progression()
    scale.observe(labels * factor, layer_of())
    wanted = float((labels * factor).std(correction=0)) if std is None else std
    assert float(scale.std) == pytest.approx(wanted, rel=1e-9)
    assert scale.outside() == side


def test_folded_and_unfolded_layers_answer_the_same() -> None:
    scale, layer, x = scale_of(), layer_of(), torch.randn(6, 5, dtype=torch.float64)
    scale.observe(progression(), layer)
    wanted = scale(layer, (), layer(x))
    plain = copy.deepcopy(layer)
    weight, bias = scale.fold(layer.weight, layer.bias)
    with torch.no_grad():
        plain.weight.copy_(weight)
        plain.bias.copy_(bias)
    assert torch.allclose(plain(x), wanted, rtol=1e-12)
    scale.unfold(plain)
    assert torch.allclose(scale(plain, (), plain(x)), wanted, rtol=1e-12)
    assert torch.allclose(plain.weight, layer.weight, rtol=1e-10)


def test_it_works_in_the_unit_of_a_task_that_is_standardised_already() -> None:
    labels = progression()
    task = RAW.fitted(labels)
    scale = scale_of(task)
    scale.observe(labels, layer_of())
    assert float(scale.mean) == pytest.approx(0, abs=1e-12)
    assert float(scale.std) == pytest.approx(1, rel=1e-12)
    (mean,), (std,) = scale.in_target_units()
    assert mean == pytest.approx(float(labels.mean()), rel=1e-12)
    assert std == pytest.approx(float(labels.std(correction=0)), rel=1e-12)


def test_what_was_learned_is_kept_to_the_bit() -> None:
    scale, again, layer = scale_of(), scale_of(), layer_of()
    scale.observe(progression()[:77], layer)
    again.load_state_dict(scale.state_dict())
    other = copy.deepcopy(layer)
    scale.observe(progression()[77:], layer)
    again.observe(progression()[77:], other)
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)
    assert torch.equal(scale.std, again.std)
