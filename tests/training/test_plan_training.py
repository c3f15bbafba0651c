"""Architectures with a schedule are told how long a training is, and go on after a cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from real_tasks import Real, diabetes, digits
from torch import nn

from polytask.architectures import AdaShare, Architecture, HardSharing, LearningToBranch
from polytask.training import Callback, Trainer

SCHEDULED = [LearningToBranch, AdaShare]


class Cut(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


class CutAfter(Callback):
    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


class Listening(HardSharing):
    """Writes down what it is told."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.told: list[int] = []
        self.taken = 0

    def plan_training(self, steps: int) -> None:
        assert self.taken == 0
        self.told.append(steps)

    def after_step(self, lr: float) -> None:
        self.taken += 1


def network(kind: type[Architecture], real: Real) -> Any:
    columns = real.train[0]["x"].shape[1]
    torch.manual_seed(0)
    stages = [nn.Linear(columns, 16), nn.Sequential(nn.ReLU(), nn.Linear(16, 16), nn.Dropout(0.1))]
    encoder = nn.Sequential(*stages)
    encoder.output_size = 16
    return kind(encoder, real.tasks, example=real.train[0]["x"][:2])


def fitted(
    model: nn.Module, real: Real, train: Any = None, cut: int | None = None, **options: Any
) -> Trainer:
    settings: dict[str, Any] = {"epochs": 3, "lr": 3e-3, "progress": False, "checkpoint_every": 0}
    if cut is not None:
        settings["callbacks"] = [CutAfter(cut)]
    trainer = Trainer(model, real.tasks, select="mean_rank", **(settings | options))
    trainer.fit(real.batches() if train is None else train, real.batches("val"))
    return trainer


@pytest.mark.parametrize(
    ("size", "options"),
    [(64, {}), (64, {"accumulate": 4}), (50, {"method": "modo"}), (400, {"epochs": 1})],
)
def test_the_number_is_that_of_the_steps(size: int, options: dict[str, Any]) -> None:
    real = digits(rows=400)
    model = network(Listening, real)
    trainer = fitted(model, real, real.batches(size=size), **options)
    assert model.told == [model.taken]
    assert model.taken == trainer.state.step > 0


def test_steps_without_labels_are_planned_and_not_taken() -> None:
    real = diabetes()
    for name, values in real.train[1].items():
        real.train[1][name] = values.double().index_fill(0, torch.arange(64), float("nan"))
    model = network(Listening, real)
    fitted(model, real, real.batches(shuffle=False))
    assert model.told == [15]
    assert model.taken == 12


class Endless:
    """Batches that do not know how many they are."""

    def __init__(self, real: Real) -> None:
        self.real = real

    def __iter__(self) -> Iterator[Any]:
        return iter(self.real.batches())


def test_an_unknown_length_is_not_told() -> None:
    real = digits(rows=400)
    model = network(Listening, real)
    fitted(model, real, Endless(real))
    assert model.told == []
    model = network(LearningToBranch, real)
    fitted(model, real, Endless(real))
    assert model.clock.temperature == 5.0


@pytest.mark.parametrize("kind", SCHEDULED)
def test_the_schedule_ends_within_the_training(kind: type[Architecture]) -> None:
    real = digits(rows=400)
    model = network(kind, real)
    trainer = fitted(model, real)
    trainer.load_checkpoint("last")
    assert model.clock.total == model.clock.steps == 12
    assert model.clock.temperature == 0.1
    assert model.clock.settled


@pytest.mark.parametrize("kind", SCHEDULED)
def test_a_cut_training_ends_with_the_same_bits(tmp_path: Path, kind: type[Architecture]) -> None:
    """Cut while the temperature falls, and once more when all is settled (from step 10 of 12)."""
    real = digits(rows=400)
    whole = fitted(network(kind, real), real, out=tmp_path / "whole")
    for batches in (4, 7):
        with pytest.raises(Cut):
            fitted(network(kind, real), real, out=tmp_path / "cut", cut=batches)
    ended = fitted(network(kind, real), real, out=tmp_path / "cut")
    assert ended.history.taken_up.startswith("resumed after")
    for name in ("model.safetensors", "model_last.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    first, second = whole.optimizer.state_dict(), ended.optimizer.state_dict()
    assert first["param_groups"] == second["param_groups"]
    for number, known in first["state"].items():
        assert all(value.equal(second["state"][number][key]) for key, value in known.items())


@pytest.mark.parametrize("kind", SCHEDULED)
def test_two_trainings_are_the_same(kind: type[Architecture]) -> None:
    real = digits(rows=400)
    states = [fitted(network(kind, real), real).model.state_dict() for _ in range(2)]
    assert all(value.equal(states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("kind", SCHEDULED)
def test_a_second_training_keeps_what_is_settled(kind: type[Architecture]) -> None:
    real = digits(rows=400)
    model = network(kind, real)
    fitted(model, real).load_checkpoint("last")
    logits = {n: p.clone() for n, p in model.named_parameters() if "logits" in n}
    fitted(model, real, epochs=9).load_checkpoint("last")
    assert model.clock.settled
    assert model.clock.steps == 48
    assert logits
    assert all(dict(model.named_parameters())[n].equal(value) for n, value in logits.items())
