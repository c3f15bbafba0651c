"""A distilled training that is cut off goes on with the same bits, adapters and shares included."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from taught_digits import Real, few_labels, fit, same_weights, teacher

from polytask.training import Callback, Distillation, Trainer
from polytask.training._resume import STATE


class Cut(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


class CutAfter(Callback):
    """Ends the work after so many batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


@pytest.fixture(scope="module")
def real() -> Real:
    return few_labels()


FORMS: list[dict[str, Any]] = [
    {"form": "annealed"},
    {"form": "soft", "temperature": 3.0},
    {"form": "features", "weight": {"digit": 2.0}, "adapter_lr": 0.1},
    {"form": "annealed", "cache": True},
]


def run(out: Path, real: Real, form: dict[str, Any], cut: int | None = None) -> Trainer | None:
    taught = {name: teacher(real, name) for name in real.tasks}
    options = {"scheduler": "cosine", "epochs": 3, "out": out, "checkpoint_every": 0}
    if cut is None:
        return fit(real, Distillation(taught, **form), **options)
    with pytest.raises(Cut):
        fit(real, Distillation(taught, **form), callbacks=[CutAfter(cut)], **options)
    return None


@pytest.mark.parametrize("form", FORMS, ids=["annealed", "soft", "features", "cached"])
def test_the_same_bits_with_and_without_a_kill(tmp_path, real, form):
    whole = run(tmp_path / "whole", real, form)
    for cut in (1, 7):  # in the first epoch and in the second, of 5 batches each
        out = tmp_path / f"cut{cut}"
        run(out, real, form, cut)
        assert (out / STATE).exists()
        again = run(out, real, form)
        assert again.history.taken_up.startswith("resumed")
        assert same_weights(whole.model, again.model)
        for one, other in zip(whole.history.epochs, again.history.epochs, strict=True):
            assert {**one, "seconds": 0} == {**other, "seconds": 0}
        ours, theirs = whole._fit.teaching.adapters, again._fit.teaching.adapters
        assert list(ours) == (list(real.tasks) if form["form"] == "features" else [])
        assert all(torch.equal(ours[name].weight, theirs[name].weight) for name in ours)


def test_adapters_are_in_no_checkpoint(tmp_path, real):
    trainer = run(tmp_path / "run", real, FORMS[2])
    names = set(trainer.folder.load("best"))
    assert names == set(real.model().state_dict())


@pytest.mark.parametrize(
    "other",
    [
        {"form": "soft"},
        {"form": "annealed", "temperature": 2.0},
        {"form": "annealed", "unlabelled": False},
        None,
    ],
)
def test_another_distillation_begins_anew(tmp_path, real, caplog, other):
    run(tmp_path, real, {"form": "annealed"}, cut=7)
    taught = {name: teacher(real, name) for name in real.tasks}
    distill = None if other is None else Distillation(taught, **other)
    with caplog.at_level(logging.WARNING, "polytask.training"):
        found = fit(real, distill, scheduler="cosine", out=tmp_path, checkpoint_every=0, epochs=3)
    assert "distillation" in caplog.text
    assert "starting anew" in caplog.text
    assert not found.history.taken_up


def test_other_teachers_begin_anew(tmp_path, real, caplog):
    run(tmp_path, real, {"form": "annealed"}, cut=7)
    taught = {name: teacher(real, name, seed=8) for name in real.tasks}
    with caplog.at_level(logging.WARNING, "polytask.training"):
        fit(
            real, Distillation(taught), scheduler="cosine", out=tmp_path, checkpoint_every=0,
            epochs=3,
        )  # fmt: skip
    assert "(distillation): starting anew" in caplog.text


def test_a_finished_one_is_taken_by_the_same_alone(tmp_path, real):
    first = run(tmp_path, real, {"form": "annealed"})
    taught = {name: teacher(real, name) for name in real.tasks}
    same = {"scheduler": "cosine", "epochs": 3, "out": tmp_path, "checkpoint_every": 0}
    again = fit(real, Distillation(taught), resume="finished", **same)
    assert again.history.taken_up.startswith("already trained")
    assert same_weights(first.model, again.model)
    other = fit(real, None, resume="finished", **same)
    assert not other.history.taken_up
