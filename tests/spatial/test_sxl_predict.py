"""Networks with Moran helper tasks: conformance, the second input, targets, λ, learning."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from polytask import Dataset, Task, Trainer, create_method
from polytask.auxiliary import construct, create_auxiliary
from polytask.auxiliary.moran import local_moran
from polytask.errors import UserError
from polytask.spatial import (
    MoranNetwork,
    fit_lambda,
    moran_maps,
    unit_range,
    upscale,
    upscaling_network,
)
from polytask.testing.architectures import ArchitectureConformance, Made

INK = Task("ink", "regression")
Problem = tuple[dict[str, Task], dict[str, int], dict[str, Tensor]]
"""Tasks, levels of the helpers, targets."""


@cache
def digits() -> Tensor:
    """The real digits as fields [1797, 1, 8, 8], 0 to 1."""
    return torch.from_numpy(load_digits().images).float()[:, None] / 16


@cache
def recipe(
    levels: int, scale: int = 1
) -> tuple[dict[str, Task], dict[str, int], dict[str, Tensor]]:
    """Main task `ink` and its helpers, fitted to the first 64 digits; levels; all targets."""
    fine = digits()[:, 0].repeat(1, scale, scale).numpy()
    dataset = Dataset("digits", {"image": fine[:, None]}, {"ink": fine}, {"ink": INK})
    options = {"levels": levels, "normalize": "minmax"}
    recipes = [create_auxiliary("multiresolution_moran", **options)] if levels else []
    dataset, train = construct(recipes, dataset, np.arange(64))
    targets = {name: torch.from_numpy(target) for name, target in dataset.targets.items()}
    tasks = {name: task.fitted(targets[name][train]) for name, task in dataset.tasks.items()}
    return tasks, {f"ink_moran_{level}": level for level in range(levels)}, targets


def problem(levels: int, rows: int = 64) -> Problem:
    """The same with the targets of the first rows."""
    tasks, helpers, targets = recipe(levels)
    return tasks, helpers, {name: target[:rows] for name, target in targets.items()}


def coarse(rows: int = 64) -> Tensor:
    return digits()[:rows, :, ::2, ::2].contiguous()


class TestUpscalingConformance(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=[(0, 2), (1, 2), (2, 2), (1, 4)], ids=str)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.levels, self.scale = request.param

    def make(self) -> Made:
        tasks, helpers, _ = recipe(self.levels, self.scale // 2)
        model = upscaling_network(tasks, helpers, scale=self.scale, width=4)
        return model, coarse(5), tasks


class TestVectorConformance(ArchitectureConformance):
    """Any encoder and any kind of task: here a class an image, beside a helper at every cell."""

    def make(self) -> Made:
        tasks, helpers, _ = recipe(1)
        tasks = {"even": Task("even", "binary"), "ink_moran_0": tasks["ink_moran_0"]}
        encoder = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        model = MoranNetwork(encoder, tasks, helpers, example={"image": digits()[:2]})
        return model, {"image": digits()[:6]}, tasks


def test_helpers_read_the_moran_map_of_the_input() -> None:
    """The main head sees the grid; the helper's sees its map, brought to [-1, 1]."""
    tasks, helpers, _ = problem(2)
    model = upscaling_network(tasks, helpers, width=4).eval()
    x = coarse(7)
    outputs = model(x)
    grids = {"ink": x}
    grids["ink_moran_0"] = unit_range(local_moran(x))
    pooled = torch.nn.functional.avg_pool2d(x, 2)
    level = unit_range(local_moran(pooled)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    grids["ink_moran_1"] = level
    for name, grid in grids.items():
        torch.testing.assert_close(outputs[name], model.heads[name](model.encoder(grid)))


def test_one_pass_gives_the_gradients_of_separate_ones() -> None:
    """Without batch normalisation, cutting the training pass up changes nothing."""
    tasks, helpers, targets = problem(1)
    encoder = nn.Conv2d(1, 3, 3, padding=1)
    torch.manual_seed(0)
    model = MoranNetwork(encoder, tasks, helpers, example=digits()[:1])
    gradients = []
    for training in (True, False):
        model.train(training)
        model.zero_grad()
        outputs = model(digits()[:64])
        sum(tasks[n].loss(outputs[n], targets[n]).value for n in tasks).backward()
        gradients.append(encoder.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1])


def test_batch_norm_learns_the_statistics_of_both_inputs() -> None:
    tasks, helpers, _ = problem(1)
    model = upscaling_network(tasks, helpers, width=4)
    x = coarse(16)
    seen = model.encoder[0](torch.cat([x, moran_maps(x, 1)[0]]))
    model(x)
    norm = model.encoder[1]
    torch.testing.assert_close(norm.running_mean, 0.1 * seen.mean((0, 2, 3)))
    assert int(norm.num_batches_tracked) == 1


def test_the_main_task_starts_alike_with_and_without_helpers() -> None:
    models = []
    for levels in (0, 1, 3):
        tasks, helpers, _ = problem(levels)
        torch.manual_seed(3)
        models.append(upscaling_network(tasks, helpers).eval())
    answers = [model(coarse(4), tasks=("ink",))["ink"] for model in models]
    assert answers[0].equal(answers[1])
    assert answers[0].equal(answers[2])


def test_a_constant_grid_has_a_map_of_zeros() -> None:
    fields = torch.full((2, 1, 8, 8), 3.7)
    assert all(map_.eq(0).all() for map_ in moran_maps(fields, 3))
    assert unit_range(fields).eq(0).all()


def test_lambda_is_the_best_on_validation() -> None:
    tasks, helpers, targets = problem(1, 96)
    train = {"image": coarse(64)}, {n: t[:64] for n, t in targets.items()}
    val = {"image": coarse(96)[64:]}, {"ink": targets["ink"][64:]}
    found = fit_lambda(
        lambda: upscaling_network(tasks, helpers, width=4),
        tasks,
        train,
        val,
        seed=1,
        epochs=3,
        batch_size=32,
        progress=False,
    )
    assert list(found.scores) == [0.01, 0.1, 1.0]
    assert found.scores[found.weight] == min(found.scores.values())
    assert len(set(found.scores.values())) == 3, "λ has no effect"
    again = found.trainer.evaluate(val, "val")["val/ink/rmse"]
    assert again == found.scores[found.weight], "the trainer holds another model"


def test_lambda_multiplies_the_helpers_alone() -> None:
    """λ = 0 leaves the main task's training what it is without helpers (no batch norm here)."""
    tasks, helpers, targets = problem(1)
    data = {"image": digits()[:64]}, targets
    outputs = []
    for kept in (tasks, {"ink": tasks["ink"]}):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        own = {name: level for name, level in helpers.items() if name in kept}
        model = MoranNetwork(encoder, kept, own, example=digits()[:1])
        method = create_method("linear", weights=dict.fromkeys(own, 0.0))
        trainer = Trainer(model, kept, method=method, epochs=2, batch_size=16, progress=False)
        trainer.fit((data[0], {name: data[1][name] for name in kept}))
        outputs.append(trainer.model.eval()(digits()[:8], tasks=("ink",))["ink"])
    torch.testing.assert_close(outputs[0], outputs[1])


def test_it_learns_to_fill_in_real_digits() -> None:
    """Better than bicubic on digits that training has not seen."""
    tasks, helpers, targets = problem(1, 1200)
    train = {"image": coarse(1000)}, {n: t[:1000] for n, t in targets.items()}
    torch.manual_seed(0)
    model = upscaling_network(tasks, helpers, width=8)
    method = create_method("linear", weights={"ink_moran_0": 0.1})
    trainer = Trainer(model, tasks, method=method, lr=5e-3, epochs=6, batch_size=32, progress=False)
    trainer.fit(train)
    x, fine = coarse(1200)[1000:], digits()[1000:1200, 0]
    answered = tasks["ink"].predict(model.eval()(x, tasks=("ink",))["ink"].detach())
    error = (answered - fine).square().mean().sqrt()
    bicubic = (upscale(x, 2)[:, 0] - fine).square().mean().sqrt()
    assert error < 0.9 * bicubic


@pytest.mark.parametrize(
    ("helpers", "words"),
    [
        ({"ink_moran": 0}, "did you mean 'ink_moran_0'"),
        ({"ink_moran_0": -1}, "whole number of at least 0, found -1"),
        ({"ink": 0, "ink_moran_0": 0}, "every task is a helper"),
        (["ink_moran_0"], "must say the level of every helper"),
    ],
)
def test_helpers_that_cannot_be(helpers: Any, words: str) -> None:
    tasks, _, _ = problem(1)
    with pytest.raises(UserError, match=words):
        MoranNetwork(nn.Conv2d(1, 4, 3), tasks, helpers, example=digits()[:1])


def test_wrong_inputs_are_refused() -> None:
    tasks, helpers, _ = problem(1)
    with pytest.raises(UserError, match=r"expected grids as a floating-point tensor \[N, C"):
        upscaling_network(tasks, helpers)(torch.zeros(3, 8))
    with pytest.raises(UserError, match="unknown scale '3'"):
        upscaling_network(tasks, helpers, scale=3)
    with pytest.raises(UserError, match="expected one output on a grid"):
        upscaling_network([Task("ink", "regression")])


def test_lambda_refuses_what_it_cannot_choose_from() -> None:
    tasks, helpers, targets = problem(1)
    data = {"image": coarse()}, targets
    build = lambda: upscaling_network(tasks, helpers)  # noqa: E731
    with pytest.raises(UserError, match="one main task, found 0"):
        fit_lambda(build, [tasks["ink_moran_0"]], data, data)
    with pytest.raises(UserError, match="numbers of at least 0"):
        fit_lambda(build, tasks, data, data, lambdas=(-1.0,))
    with pytest.raises(UserError, match="chosen on validation data"):
        fit_lambda(build, tasks, data, None)
