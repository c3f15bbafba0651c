"""Undefined is never a number; metric words and directions are checked."""

import json
import pickle

import numpy as np
import pytest
import torch

from polytask.errors import UserError
from polytask.metrics import Metric, Undefined, find_metric, list_metrics
from polytask.tasks import Task


def test_undefined_is_falsy_and_never_a_number():
    nothing = Undefined("one class only")
    assert not nothing
    with pytest.raises(TypeError, match="one class only"):
        float(nothing)
    with pytest.raises(TypeError):
        nothing + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        nothing < 1  # type: ignore[operator]  # noqa: B015
    with pytest.raises(TypeError):
        np.mean([nothing, 0.5])
    with pytest.raises(TypeError):
        f"{nothing:.3f}"
    assert str(nothing) == "undefined (one class only)"


def test_undefined_through_json_and_pickle():
    nothing = Undefined("no labelled item")
    text = json.dumps(nothing.to_dict())
    assert text == '{"undefined": "no labelled item"}'
    assert Undefined.from_dict(json.loads(text)) == nothing
    assert Undefined.from_dict(0.5) == 0.5
    assert pickle.loads(pickle.dumps(nothing)) == nothing


def test_unknown_metric_suggests_the_nearest_that_fits():
    with pytest.raises(UserError, match="did you mean 'auroc'"):
        find_metric("auorc", "binary")
    with pytest.raises(UserError, match="did you mean 'rmse'"):
        Task("price", "regression", metrics=("rsme",))


def test_a_metric_of_another_kind_names_those_that_fit():
    with pytest.raises(UserError, match="does not fit a regression task") as caught:
        find_metric("auroc", "regression")
    for name in list_metrics("regression"):
        assert name in str(caught.value)
    with pytest.raises(UserError, match="task 'sold': metric 'rmse' does not fit a binary task"):
        Task("sold", "binary", metrics=("rmse",))
    with pytest.raises(UserError, match="does not fit a binary task"):
        Metric("rmse", "min").fresh(Task("sold", "binary"))


def test_every_listed_word_can_be_built_and_accumulated():
    tasks = {
        "regression": Task("a", "regression"),
        "binary": Task("a", "binary"),
        "multiclass": Task("a", "multiclass", classes=(0, 1, 2)),
        "multilabel": Task("a", "multilabel", classes=("x", "y")),
        "custom": Task("a", "custom", loss_function=lambda o, t: (o[:, 0] - t).abs()),
    }
    assert {name for kind in tasks for name in list_metrics(kind)} == set(list_metrics())
    for kind, task in tasks.items():
        assert list_metrics(kind)
        for name in list_metrics(kind):
            accumulator = find_metric(name, kind).fresh(task)
            assert accumulator.compute() == Undefined("no labelled item")


def test_directions():
    assert find_metric("rmse", "regression").direction == "min"
    assert find_metric("rmse", "regression").sign == -1
    assert find_metric("auroc", "binary").sign == 1
    with pytest.raises(UserError, match="has direction 'min'"):
        Metric("rmse", "max")
    with pytest.raises(UserError, match="unknown direction"):
        Metric("own", "up", lambda o, t: 0.0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="pass function="):
        Metric("own", "max")
    with pytest.raises(UserError, match="without '/'"):
        Metric("own/1", "max", lambda o, t: 0.0)


def test_your_own_metric_sees_labelled_items_together_in_target_units():
    seen = []

    def largest_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append((outputs.clone(), targets.clone()))
        return (outputs - targets).abs().max()

    task = Task(
        "t", "regression", mean=10.0, std=2.0, metrics=(Metric("worst", "min", largest_error),)
    )
    accumulator = task.primary.fresh(task)
    accumulator.update(torch.tensor([[0.0], [9.0]]), torch.tensor([10.5, torch.nan]))
    accumulator.update(torch.tensor([[1.0]]), torch.tensor([9.0]))
    assert accumulator.compute() == pytest.approx(3.0)
    assert len(seen) == 1
    assert seen[0][0].tolist() == [10.0, 12.0]
    assert seen[0][1].tolist() == [10.5, 9.0]


def test_your_own_metric_may_be_undefined():
    task = Task("t", "binary", metrics=(Metric("m", "max", lambda o, t: Undefined("because")),))
    accumulator = task.primary.fresh(task)
    accumulator.update(torch.zeros(2, 1), torch.tensor([0, 1]))
    assert accumulator.compute() == Undefined("because")
