"""What an architecture adds to the objective: terms, early answers, rates and schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from real_tasks import Real, diabetes
from torch import Tensor, nn

from polytask.architectures import HardSharing
from polytask.errors import NonFiniteError, UserError
from polytask.optimization import create_method
from polytask.training import Callback, Trainer
from polytask.training._resume import STATE

FACTORS = {"gain": 10.0, "shift": 10.0, "brake": 0.1}


class Termed(HardSharing):
    """A term of each kind, an early answer, parameters at other rates, and a schedule."""

    no_features = "it would say nothing."

    def __init__(self, encoder: nn.Module, tasks: Any) -> None:
        super().__init__(encoder, tasks)
        self.gain = nn.Parameter(torch.ones(self.width))
        self.shift = nn.Parameter(torch.zeros(self.width))
        self.brake = nn.Parameter(torch.ones(self.width))
        self.early = nn.Linear(self.width, 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.rates: list[float] = []

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Any]:
        z = self.encoder(x["x"] if isinstance(x, dict) else x)
        for task in tasks:
            if task == "progress":
                self.supervise(task, self.early(z))
        z = (z * self.gain + self.shift) * self.brake
        self.term("activity", 0.01 * z.square().mean())
        # Half as strong after every step: what is saved has to be restored.
        self.term("fading", 0.1 * 0.5 ** self.steps.float() * z.abs().mean())
        return {task: self.heads[task](z) for task in tasks}, None

    def penalties(self) -> dict[str, Tensor]:
        return super().penalties() | {"weight": 0.02 * self.gain.square().sum()}

    def rate_factors(self) -> dict[str, float]:
        return dict(FACTORS)

    def after_step(self, lr: float) -> None:
        self.rates.append(lr)
        self.steps += 1
        with torch.no_grad():
            self.gain.clamp_(max=1.0 + lr)


def model(real: Real, seed: int = 0, dropout: float = 0.0) -> Termed:
    columns = real.train[0]["x"].shape[1]
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(columns, 12), nn.ReLU(), nn.Dropout(dropout))
    encoder.output_size = 12
    return Termed(encoder, real.tasks)


def trainer(net: nn.Module, real: Real, **options: Any) -> Trainer:
    settings = {"optimizer": "sgd", "lr": 0.02, "epochs": 3, "progress": False}
    return Trainer(net, real.tasks, **{**settings, **options})


def by_hand(net: Termed, real: Real, batches: list[Any], factors: dict[str, float]) -> None:
    """The same objective written out, one ordinary backward a step."""
    for inputs, targets in batches:
        net.train()
        outputs = net(inputs)
        total = sum(net.penalties().values())
        for name, task in real.tasks.items():
            total = total + task.loss(outputs[name], targets[name]).value
        (early,) = net.intermediate["progress"]
        total = total + real.tasks["progress"].loss(early, targets["progress"]).value
        net.zero_grad()
        total.backward()
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter -= 0.02 * factors.get(name, 1.0) * parameter.grad
        net.after_step(0.02)


def slices(real: Real, rows: int = 60) -> list[Any]:
    inputs, targets = real.train
    count = len(inputs["x"])
    return [
        ({k: v[i : i + rows] for k, v in inputs.items()},
         {k: v[i : i + rows] for k, v in targets.items()})
        for i in range(0, count - rows + 1, rows)
    ]  # fmt: skip


def test_the_trainer_minimises_losses_early_answers_and_terms() -> None:
    real = diabetes(missing=0.2)
    ours, hand = model(real), model(real)
    batches = slices(real)
    trainer(ours, real).fit(batches)
    by_hand(hand, real, batches * 3, FACTORS)
    wanted = hand.state_dict()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-6, msg=name)
    # The test can fail: each part moves the result.
    plain = model(real)
    by_hand(plain, real, batches * 3, {})
    assert not torch.allclose(plain.gain, ours.gain, rtol=1e-3)


def test_validation_sees_neither_terms_nor_early_answers() -> None:
    real = diabetes()
    net = model(real)
    run = trainer(net, real, epochs=1)
    run.fit(real.batches(), real.batches("val"))
    net.eval()
    with torch.no_grad():
        outputs = net(real.val[0])
    assert net.intermediate == {}
    assert set(net.penalties()) == {"weight"}
    losses = run.forward.losses(outputs, real.val[1])
    assert losses.penalty is None
    for name, task in real.tasks.items():
        value = task.loss(outputs[name], real.val[1][name]).value
        assert losses.values[name].item() == pytest.approx(value.item())


@pytest.mark.parametrize("method", ["linear", "pcgrad", "graddrop"])
def test_methods_weigh_losses_and_leave_terms_alone(method: str) -> None:
    """A term that is as large as can be does not change what a method decides."""
    real = diabetes(missing=0.0)
    weights = []
    for size in (0.0, 100.0):

        class Heavy(HardSharing):
            def compute(self, x: Any, tasks: Any, size: float = size) -> Any:
                outputs, z = super().compute(x, tasks)
                self.term("heavy", size * z.square().mean())
                return outputs, z

        plain = real.model()
        net = Heavy(plain.encoder, real.tasks)
        net.load_state_dict(plain.state_dict())
        one = slices(real, 200)[:1]
        history = trainer(net, real, method=method, epochs=1, lr=1e-6).fit(one)
        weights.append({t: history.series(f"weight/{t}") for t in real.tasks})
    assert weights[0] == weights[1]


def test_parameters_with_rates_of_their_own_are_groups_of_their_own() -> None:
    real = diabetes()
    net = model(real)
    run = trainer(
        net, real, optimizer="adamw", weight_decay=0.1, scheduler="cosine", warmup=0.5, epochs=2
    )
    run.fit(slices(real))
    groups = run.optimizer.param_groups
    assert [len(group["params"]) for group in groups] == [
        len(list(net.parameters())) - len(FACTORS), 2, 1,
    ]  # fmt: skip
    assert groups[1]["params"] == [net.gain, net.shift]
    assert groups[2]["params"] == [net.brake]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]
    assert [group["initial_lr"] for group in groups] == pytest.approx([0.02, 0.2, 0.002])


class Rates(Callback):
    """The rate of every group at every batch."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        assert trainer.optimizer is not None
        self.seen.append([group["lr"] for group in trainer.optimizer.param_groups])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_after_step_is_told_once_an_optimizer_step_with_its_rate(accumulate: int) -> None:
    real = diabetes()
    net, rates = model(real), Rates()
    run = trainer(
        net, real, scheduler="cosine", warmup=0.25, accumulate=accumulate, callbacks=[rates]
    )
    history = run.fit(slices(real), real.batches("val"))
    steps = history.epochs[-1]["step"]
    assert len(net.rates) == steps == int(net.steps)
    assert steps == 3 * -(-len(slices(real)) // accumulate)
    per_epoch = len(slices(real))
    last = [
        rates.seen[e * per_epoch + min(b + accumulate, per_epoch) - 1]
        for e in range(3)
        for b in range(0, per_epoch, accumulate)
    ]
    assert net.rates == [group[0] for group in last]
    assert len(set(net.rates)) > 3
    for first, second, third in rates.seen:
        assert (second, third) == pytest.approx((10 * first, 0.1 * first))


def test_a_step_that_is_skipped_is_not_told() -> None:
    real = diabetes()
    net = model(real)
    inputs, targets = slices(real)[0]
    empty = {name: torch.full_like(value, torch.nan) if value.is_floating_point()
             else torch.full_like(value, -100) for name, value in targets.items()}  # fmt: skip
    trainer(net, real, epochs=1).fit([(inputs, targets), (inputs, empty)])
    assert len(net.rates) == 1


class Cut(BaseException):
    """Stands for a kill."""


class CutAfter(Callback):
    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_several_groups_and_a_schedule_of_the_model_resume_to_the_bit(
    tmp_path: Path, optimizer: str
) -> None:
    real = diabetes()
    options: dict[str, Any] = {
        "optimizer": optimizer, "scheduler": "cosine", "warmup": 0.2, "method": "pcgrad",
        "checkpoint_every": 0, "lr": 3e-3,
    }  # fmt: skip

    def fit(folder: str, cut: int | None = None) -> Trainer:
        callbacks = [] if cut is None else [CutAfter(cut)]
        net = model(real, dropout=0.3)
        run = trainer(net, real, out=tmp_path / folder, callbacks=callbacks, **options)
        if cut is None:
            run.fit(real.batches(), real.batches("val"))
        else:
            with pytest.raises(Cut):
                run.fit(real.batches(), real.batches("val"))
        return run

    whole = fit("whole")
    for cut in (2, 5, 3):
        fit("cut", cut)
        assert (tmp_path / "cut" / STATE).exists()
    resumed = fit("cut")
    assert len(resumed.model.rates) < len(whole.model.rates) == int(whole.model.steps)
    wanted = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert value.equal(wanted[name]), name
    ours, theirs = resumed.optimizer.state_dict(), whole.optimizer.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    for index, state in theirs["state"].items():
        for key, value in state.items():
            found = ours["state"][index][key]
            assert found.equal(value) if isinstance(value, Tensor) else found == value
    for file in ("model.safetensors", "model_last.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()


def test_a_term_that_is_not_finite_is_named_with_its_place() -> None:
    real = diabetes()

    class Bad(HardSharing):
        def compute(self, x: Any, tasks: Any) -> Any:
            outputs, z = super().compute(x, tasks)
            self.term("bad", torch.inf * z.sum())
            return outputs, z

    plain = real.model()
    net = Bad(plain.encoder, real.tasks)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(NonFiniteError, match=r"the penalty is .*epoch 1, step 1"):
        trainer(net, real).fit(real.batches())
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())


def test_features_that_an_architecture_has_not_are_refused_with_its_reason() -> None:
    real = diabetes()
    method = create_method("mgda", statistic="features")
    with pytest.raises(UserError, match=r"Termed has none: it would say nothing\. Use statistic"):
        trainer(model(real), real, method=method).fit(real.batches())
    method = create_method("mgda", statistic="tail")
    trainer(model(real), real, method=method, epochs=1).fit(real.batches())
