"""Losses of different units are noticed in the first steps, and said once with the remedy."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from polytask import Task, Trainer
from polytask.architectures import HardSharing, SingleTask
from polytask.data import Batches
from polytask.training._scale_watch import ScaleWatch

LOOSE = 1000.0


@cache
def diabetes() -> tuple[Tensor, dict[str, Tensor]]:
    """Eight measurements; the progression of the disease, and the blood sugar as it is read."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    table = torch.tensor(x, dtype=torch.float32)
    inputs = (table - table.mean(0)) / table.std(0)
    return inputs[:, :8], {
        "progression": torch.tensor(y, dtype=torch.float32),
        "sugar": table[:, 9],
    }


def tasks_of(*raw: str, **settings: Any) -> tuple[list[Task], dict[str, Tensor]]:
    """Both targets standardised, but for those in `raw`, which are 1000 times as large as then."""
    targets = dict(diabetes()[1])
    tasks = []
    for name, target in targets.items():
        if name in raw:
            targets[name] = (target - target.mean()) / target.std() * LOOSE
            tasks.append(Task(name, "regression", **settings))
        else:
            tasks.append(Task(name, "regression").fitted(target))
    return tasks, targets


def fitted(
    *raw: str, model: type = HardSharing, epochs: int = 3, rows: int = 320, **options: Any
) -> Trainer:
    tasks, targets = tasks_of(*raw)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    network = model(encoder, tasks, example=diabetes()[0][:2])
    trainer = Trainer(
        network, tasks, epochs=epochs, batch_size=32, progress=False, device="cpu", **options
    )
    trainer.fit(({"x": diabetes()[0][:rows]}, {n: t[:rows] for n, t in targets.items()}))
    return trainer


def said(trainer: Trainer) -> list[str]:
    return [remark for remark in trainer.history.remarks if "on the shared parameters" in remark]


def test_a_target_a_thousand_times_too_large_is_named_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    with caplog.at_level(logging.WARNING, "polytask.training"):
        trainer = fitted("sugar", out=tmp_path)
    (remark,) = said(trainer)
    assert "the gradient of 'sugar'" in remark
    assert "that of 'progression'" in remark
    for remedy in ("Standardise", "scale_invariant", "weigh the losses", "reads gradients"):
        assert remedy in remark
    ratio = float(remark.split(" times")[0].rsplit(" ", 1)[1].replace(",", ""))
    # The loss is quadratic: 1000 times the target at first is as much as 1000 times the gradient.
    assert 300 < ratio < 3000
    assert [r.getMessage() for r in caplog.records].count(remark) == 1
    assert remark in (tmp_path / "run.json").read_text(encoding="utf-8")


def test_standardised_targets_are_quiet() -> None:
    assert not said(fitted())


@pytest.mark.parametrize(
    "method",
    ["scale_invariant", "imtl_g", "nash_mtl", "mgda", "famo"],
)
def test_a_method_that_makes_up_for_it_is_quiet(method: str) -> None:
    assert not said(fitted("sugar", method=method, epochs=1))


@pytest.mark.parametrize("method", ["linear", "dwa", "pcgrad", "uncertainty"])
def test_a_method_that_goes_by_the_size_is_not(method: str) -> None:
    assert said(fitted("sugar", method=method, epochs=1))


def test_loss_weights_are_a_remedy() -> None:
    from polytask.optimization.create import create_method

    balancer = create_method("linear", weights={"sugar": 1e-3, "progression": 1.0})
    assert not said(fitted("sugar", method=balancer))


def test_nothing_shared_and_a_single_task_are_quiet() -> None:
    assert not said(fitted("sugar", model=SingleTask))
    tasks, targets = tasks_of("sugar")
    model = HardSharing(nn.Linear(8, 4), tasks[1:], example=torch.zeros(2, 8))
    trainer = Trainer(model, tasks[1:], epochs=1, progress=False)
    trainer.fit(({"x": diabetes()[0]}, {"sugar": targets["sugar"]}))
    assert not said(trainer)


def test_a_reversed_task_is_not_watched() -> None:
    tasks, targets = tasks_of("sugar", reverse=1.0, role="auxiliary")
    model = HardSharing(nn.Linear(8, 4), tasks, example=torch.zeros(2, 8))
    trainer = Trainer(model, tasks, epochs=1, progress=False)
    trainer.fit(({"x": diabetes()[0]}, targets))
    assert not said(trainer)


def test_steps_of_one_task_tell_nothing_and_end_nothing() -> None:
    tasks, targets = tasks_of("sugar")
    part = [
        ({"x": diabetes()[0][i : i + 32]}, {name: targets[name][i : i + 32]})
        for i in range(0, 320, 32)
        for name in targets
    ]
    model = HardSharing(nn.Linear(8, 4), tasks, example=torch.zeros(2, 8))
    trainer = Trainer(model, tasks, epochs=2, progress=False)
    trainer.fit(part)
    assert not said(trainer)


def test_the_training_stays_the_same_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = fitted("sugar").model.state_dict()
    looked = []
    monkeypatch.setattr(ScaleWatch, "on_train_begin", lambda self, trainer: looked.append(1))
    alone = fitted("sugar").model.state_dict()
    assert looked
    assert all(value.equal(alone[name]) for name, value in watched.items())


@pytest.mark.parametrize(("epochs", "looks"), [(1, 1), (7, 2), (16, 5)])
def test_looks_are_few(monkeypatch: pytest.MonkeyPatch, epochs: int, looks: int) -> None:
    """10 batches an epoch: 10, 70 and 160 steps."""
    from polytask.training import _scale_watch

    calls = []
    usual = _scale_watch.measure
    monkeypatch.setattr(_scale_watch, "measure", lambda *a, **k: calls.append(1) or usual(*a, **k))
    fitted(epochs=epochs)
    assert len(calls) == looks


def test_what_was_noted_is_taken_up() -> None:
    one = ScaleWatch()
    assert one.state_dict() == {}
    one._logs = {"a": [(1.0, 2.0)], "b": [(0.0, 0.0)]}
    one.remark = "said"
    other = ScaleWatch()
    other.load_state_dict(one.state_dict())
    assert other.state_dict() == one.state_dict()


def test_batches_without_length_are_watched_too() -> None:
    class Endless:
        def __iter__(self) -> Any:
            return iter(Batches({"x": diabetes()[0]}, tasks_of("sugar")[1], 32))

    tasks, _ = tasks_of("sugar")
    model = HardSharing(nn.Linear(8, 4), tasks, example=torch.zeros(2, 8))
    trainer = Trainer(model, tasks, epochs=1, progress=False)
    trainer.fit(Endless())
    assert said(trainer)
