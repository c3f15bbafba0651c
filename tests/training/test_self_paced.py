"""Self-paced training on real data: who takes part when, absent labels, kills, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from real_tasks import Real, diabetes, digits
from torch import nn

from polytask.errors import UserError
from polytask.metrics import Undefined
from polytask.tasks import Task
from polytask.training import Callback, Distillation, SelfPaced, Trainer
from polytask.training._resume import STATE

OPTIONS: dict[str, Any] = {"lr": 1e-2, "progress": False, "device": "cpu"}


def with_noise() -> Real:
    """Digits with a task of random classes, which nothing can learn."""
    real = digits(rows=400)
    chance = torch.Generator().manual_seed(0)
    real.tasks["noise"] = Task("noise", "multiclass", classes=tuple(range(10)))
    for part in (real.train, real.val, real.test):
        part[1]["noise"] = torch.randint(0, 10, (len(part[1]["digit"]),), generator=chance)
    return real


def fit(real: Real, *callbacks: Callback, epochs: int = 6, **options: Any) -> Trainer:
    trainer = Trainer(
        real.model(dropout=0.1), real.tasks, epochs=epochs, callbacks=callbacks,
        **{**OPTIONS, **options},
    )  # fmt: skip
    trainer.fit(real.batches(), real.batches("val"))
    return trainer


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_easy_examples_come_first_and_all_in_the_end(tmp_path: Path) -> None:
    real = digits(rows=400)
    paced = SelfPaced(growth=2.0)
    trainer = fit(real, paced, epochs=10, out=tmp_path)
    rows = len(real.train[1]["digit"])
    total = [
        sum(record[f"taking_part/{name}"] for name in real.tasks)
        for record in trainer.history.epochs
    ]
    assert total[0] == 3 * rows  # the epoch to warm up
    assert total[1] < 0.6 * 3 * rows  # half of the examples, or fewer
    assert total[1] < total[4] <= total[9]
    assert all(bool((weights == 1).all()) for weights in paced.weights.values())
    assert trainer.history.epochs[-1]["val/digit/accuracy"] > 0.8
    assert [epoch for epoch, _, _ in paced.paces] == list(range(2, 11))
    for (_, one, own), (_, other, later) in zip(paced.paces, paced.paces[1:], strict=False):
        assert other == pytest.approx(2 * one)
        assert own == later
    lines = (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()
    written = [json.loads(line)["taking_part/odd"] for line in lines]
    assert written == trainer.history.series("taking_part/odd")


def test_the_first_weights_are_those_of_the_first_losses() -> None:
    """By hand, from the model as it is built: the median, the root mean square, the closed form."""
    real = diabetes()
    model = real.model()
    losses = {}
    with torch.no_grad():
        outputs = model.eval()(real.train[0])
        for name, task in real.tasks.items():
            target = real.train[1][name]
            known = task.labelled(target)
            losses[name] = task.item_losses(*task.items(outputs[name], target)).double()
            assert len(losses[name]) == int(known.sum()) < len(target)
    threshold = float(torch.cat(list(losses.values())).median())
    gains = {n: (threshold - row).clamp(min=0).square().mean().sqrt() for n, row in losses.items()}
    sparsity = 0.1 * float(max(gains.values()))

    class Seen(Callback):
        def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
            self.weights = {name: w.clone() for name, w in paced.weights.items()}

    paced, seen = SelfPaced(warmup=0), Seen()
    trainer = Trainer(
        model.train(), real.tasks, epochs=1, callbacks=[paced, seen], **{**OPTIONS, "lr": 1e-3}
    )
    trainer.fit(real.batches())
    assert paced.paces == [(1, pytest.approx(threshold), pytest.approx(sparsity))]
    for name, task in real.tasks.items():
        known = task.labelled(real.train[1][name])
        assert not seen.weights[name][~known].any()
        own, row = seen.weights[name][known].double(), losses[name]
        root = len(row) ** 0.5
        # The optimality conditions of the objective, with the norm times the root of the rows.
        slope = row - threshold + sparsity * root * own / own.norm()
        assert (slope[own == 1] <= 1e-5).all()
        assert (slope[own == 0] >= -1e-5).all()
        assert trainer.history.epochs[0][f"taking_part/{name}"] == int((own > 0).sum())


def waiting() -> SelfPaced:
    """Learn for six epochs, by when digits are known and noise is not; then let go by and by."""
    return SelfPaced(threshold=0.7, sparsity=0.2, growth=1.3, warmup=6)


def test_a_task_that_cannot_be_learned_waits() -> None:
    real = with_noise()

    class Heads(Callback):
        def __init__(self) -> None:
            self.seen: list[list[torch.Tensor]] = []

        def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
            state = trainer.model.state_dict()
            self.seen.append([value.clone() for key, value in state.items() if "noise" in key])

    heads = Heads()
    trainer = fit(real, waiting(), heads, epochs=16)
    rows = len(real.train[1]["digit"])
    noise = trainer.history.series("taking_part/noise")
    digit = trainer.history.series("taking_part/digit")
    assert noise[:6] == digit[:6] == [rows] * 6
    assert noise[6:8] == [0, 0]  # all of it at once
    assert min(digit[6:]) > 0.8 * rows
    back = next(place for place in range(6, 16) if noise[place])
    assert noise[back:] == sorted(noise[back:])  # easy examples first
    assert 0 < noise[back] < rows == noise[-1]
    # What is absent learns nothing, has no loss in these epochs, and is not paused.
    for before, after in zip(heads.seen[5:back], heads.seen[6:back], strict=False):
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not torch.equal(heads.seen[back - 1][0], heads.seen[back][0])
    record = trainer.history.epochs[6]
    assert "paused/noise" not in record
    assert record["examples/noise"] == 0
    assert isinstance(record["train/noise/loss"], Undefined)


def test_with_all_weights_one_it_is_the_usual_training_to_the_bit() -> None:
    real = diabetes()
    usual = fit(real)
    paced = fit(real, SelfPaced(threshold=1e6, sparsity=0.0, warmup=2))
    assert same(usual.model, paced.model)
    for one, other in zip(usual.history.epochs, paced.history.epochs, strict=True):
        assert {k: v for k, v in other.items() if not k.startswith(("taking", "sec"))} == {
            k: v for k, v in one.items() if k != "seconds"
        }


def test_the_threshold_grows_at_once_where_nothing_would_take_part() -> None:
    paced = SelfPaced(threshold=1e-9, sparsity=0.0, growth=3.0, warmup=0)
    trainer = fit(digits(rows=200), paced, epochs=2)
    assert sum(v for k, v in trainer.history.epochs[0].items() if k.startswith("taking_part")) > 0
    times = paced.paces[0][1] / 1e-9
    assert times > 3


@pytest.mark.parametrize("method", ["mgda", "uncertainty"])
def test_methods_see_one_loss_a_task_and_absent_ones_as_absent(method: str) -> None:
    trainer = fit(with_noise(), waiting(), method=method, epochs=7, lr=2e-2)
    assert trainer.history.epochs[-1]["taking_part/noise"] == 0
    assert trainer.history.epochs[-1]["taking_part/ink"] > 0
    assert "weight/noise" not in trainer.history.epochs[-1]


class Cut(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


class CutAfter(Callback):
    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


def test_the_same_bits_with_and_without_a_kill(tmp_path: Path) -> None:
    real = digits(missing=0.3, rows=400)  # 240 rows to train on: 4 batches an epoch

    def run(out: Path, *more: Callback) -> tuple[Trainer, SelfPaced]:
        paced = SelfPaced(growth=1.5)
        return fit(real, paced, *more, epochs=4, out=out, checkpoint_every=0), paced

    whole, ours = run(tmp_path / "whole")
    for cut in (
        2,
        4,
        6,
        12,
    ):  # while warming up, between two epochs, and in the middle of later ones
        out = tmp_path / f"cut{cut}"
        with pytest.raises(Cut):
            run(out, CutAfter(cut))
        assert (out / STATE).exists()
        again, theirs = run(out)
        assert again.history.taken_up.startswith("resumed")
        assert same(whole.model, again.model)
        assert ours.paces == theirs.paces
        assert all(torch.equal(ours.weights[name], theirs.weights[name]) for name in real.tasks)
        for one, other in zip(whole.history.epochs, again.history.epochs, strict=True):
            assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_another_pace_is_another_training(tmp_path: Path, caplog: Any) -> None:
    real = digits(rows=200)
    with pytest.raises(Cut):
        fit(real, SelfPaced(), CutAfter(3), out=tmp_path, checkpoint_every=0)
    trainer = fit(real, SelfPaced(growth=2.0), out=tmp_path)
    assert trainer.history.taken_up == ""
    assert "callbacks" in caplog.text


def test_batches_are_left_as_they_were_and_a_second_fit_begins_anew() -> None:
    real = digits(rows=200)
    train = real.batches()
    paced = SelfPaced()
    trainer = Trainer(real.model(), real.tasks, epochs=3, callbacks=[paced], **OPTIONS)
    trainer.fit(train)
    assert set(train.targets) == set(real.tasks)
    first = list(paced.paces)
    trainer.fit(train)
    assert [epoch for epoch, _, _ in paced.paces] == [2, 3]
    assert paced.paces != first
    assert trainer.forward.teaching is None


def test_only_batches_whose_rows_are_known() -> None:
    real = digits(rows=200)
    trainer = Trainer(real.model(), real.tasks, epochs=1, callbacks=[SelfPaced()], **OPTIONS)
    with pytest.raises(UserError, match=r"expected polytask\.data\.Batches, found list"):
        trainer.fit(list(real.batches()))


def test_no_distillation_beside_it() -> None:
    real = digits(rows=200)
    distill = Distillation({"digit": real.model(seed=1)}, form="soft")
    with pytest.raises(UserError, match="both replace the losses"):
        fit(real, SelfPaced(), distill=distill)


def test_no_losses_on_a_scale_that_moves() -> None:
    with pytest.raises(UserError, match="popart rescales them"):
        fit(digits(rows=200), SelfPaced(), popart=True)


def test_a_median_loss_below_zero_asks_for_a_threshold() -> None:
    real = digits(rows=200)

    def negative(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).square().mean(1) - 1e6

    real.tasks = {"ink": Task("ink", "custom", loss_function=negative)}
    for part in (real.train, real.val):
        part[1]["ink"] = part[1]["ink"].unsqueeze(1)
    with pytest.raises(UserError, match=r"median loss of all examples is -.*Give a threshold"):
        fit(real, SelfPaced(warmup=0), select="loss")
    assert fit(real, SelfPaced(threshold=1.0), epochs=2, select="loss").history.epochs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 0.0}, "threshold must be a number above 0, found 0.0"),
        ({"threshold": float("inf")}, "threshold"),
        ({"growth": 1.0}, "growth must be a number above 1"),
        ({"sparsity": -0.1}, "sparsity must be a number of at least 0"),
        ({"sparsity_growth": 1.4}, "at most growth"),
        ({"sparsity_growth": 0.0}, "sparsity_growth must be a number above 0"),
        ({"warmup": -1}, "warmup must be a whole number"),
        ({"warmup": 1.0}, "warmup must be a whole number"),
    ],
)
def test_arguments_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SelfPaced(**options)
