"""KD4MTL on real data: features come nearer the teachers', and nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from taught_digits import few_labels, fit, teacher, teachers
from torch import nn

from polytask.architectures.hard_sharing import HardSharing
from polytask.data import Batches
from polytask.errors import UserError
from polytask.optimization.distillation import feature_distance
from polytask.tasks import Task
from polytask.training import Callback, Distillation, Trainer


class Distances(Callback):
    """Losses of every step, and whether adapters had gradients."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.moved = False

    def on_grad_computed(self, trainer, step) -> None:
        adapters = trainer.forward.teaching.adapters.values()
        self.moved |= all(a.weight.grad is not None and a.weight.grad.any() for a in adapters)

    def on_batch_end(self, trainer, batch_index, losses) -> None:
        self.losses.append(losses)


@pytest.fixture(scope="module")
def real():
    return few_labels()


@pytest.mark.parametrize("method", ["linear", "pcgrad", "cagrad"])
def test_features_come_nearer_their_teachers(real, method):
    taught = teachers(real, epochs=3, width=24)  # narrower than the student's 32
    inputs = real.val[0]

    def distances(lr: float, epochs: int) -> list[float]:
        seen = Distances()
        distill = Distillation(taught, form="features", adapter_lr=lr)
        options = {"method": method, "callbacks": [seen], "epochs": epochs, "lr": lr}
        trainer = fit(real, distill, model=real.model(), **options)
        adapters = trainer._fit.teaching.adapters
        assert seen.moved
        assert {a.weight.shape for a in adapters.values()} == {torch.Size([24, 32])}
        own = trainer.model(inputs, return_features=True)[1]
        goals = {t: network(inputs, return_features=True)[1] for t, network in taught.items()}
        return [float(feature_distance(adapters[t](own), goals[t]).mean().detach()) for t in goals]

    before, after = distances(1e-9, 1), distances(3e-3, 8)
    assert all(near < 0.6 * far for far, near in zip(before, after, strict=True))


def test_the_loss_is_labels_plus_the_weighted_distance(real):
    taught = {"digit": teacher(real, "digit")}
    firsts = []
    for weight in (1.0, 3.0):
        seen = Distances()
        distill = Distillation(taught, form="features", weight=weight)
        fit(real, distill, callbacks=[seen], epochs=1, model=real.model())
        firsts.append(seen.losses[0])
    plain = Distances()
    plain.on_grad_computed = lambda trainer, step: None
    fit(real, None, callbacks=[plain], epochs=1, model=real.model())
    term = firsts[0]["digit"] - plain.losses[0]["digit"]
    assert 0 < term < 4
    assert firsts[1]["digit"] - plain.losses[0]["digit"] == pytest.approx(3 * term, rel=1e-3)
    assert firsts[0]["odd"] == plain.losses[0]["odd"]


def test_rows_without_labels_may_be_left_out(real):
    taught = {"digit": teacher(real, "digit")}
    found = []
    for unlabelled in (True, False):
        seen = Distances()
        distill = Distillation(taught, form="features", unlabelled=unlabelled)
        fit(real, distill, callbacks=[seen], epochs=1, model=real.model())
        found.append(seen.losses[0]["digit"])
    assert found[0] != found[1]


class Conv(nn.Module):
    """An encoder of maps, [N, width, side, side]."""

    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, width, 3, padding=1, stride=stride)
        self.output_size = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).relu()


def maps(real, width: int, stride: int = 1, tasks=None) -> HardSharing:
    torch.manual_seed(0)
    return HardSharing(Conv(width, stride), tasks or {"odd": real.tasks["odd"]})


def test_maps_are_matched_place_by_place_and_must_have_as_many(real):
    def batches():
        return Batches(
            {"x": real.train[0]["x"].view(-1, 1, 8, 8)}, {"odd": real.train[1]["odd"]}, 64
        )

    def train(network):
        tasks = {"odd": real.tasks["odd"]}
        distill = Distillation({"odd": network}, form="features")
        trainer = Trainer(maps(real, 6), tasks, distill=distill, epochs=1, progress=False)
        trainer.fit(batches())
        return trainer

    adapters = train(maps(real, 4))._fit.teaching.adapters
    assert adapters["odd"].weight.shape == (4, 6)
    with pytest.raises(UserError, match=r"features of shape \[64, 4, 4, 4\].*same resolution"):
        train(maps(real, 4, stride=2))


def test_a_task_of_its_own_loss_can_follow_features(real):
    def squared(output, target):
        return (output - target[:, None]).square()

    own = Task("odd", "custom", loss_function=squared, metrics=("loss",))
    target = real.train[1]["odd"].float()
    target[target < 0] = float("nan")
    network = teacher(real, "odd")
    student = HardSharing(teacher(real, "digit", width=8).encoder, {"odd": own})
    distill = Distillation({"odd": network}, form="features")
    trainer = Trainer(
        student, {"odd": own}, distill=distill, epochs=1, progress=False, select="loss"
    )
    trainer.fit(Batches(real.train[0], {"odd": target}, 64))
    assert trainer.history.epochs[0]["train/odd/loss"] > 0
