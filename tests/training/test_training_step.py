"""One optimizer step: accumulation, clipping, schedules, precision, bad batches."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from real_tasks import diabetes, digits
from torch import Tensor, nn

from polytask.errors import NonFiniteError, UserError
from polytask.optimization.base import Balancer
from polytask.training import Callback, Trainer

Batch = tuple[dict[str, Tensor], dict[str, Tensor]]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def slices(data: Batch, sizes: list[int]) -> list[Batch]:
    """Consecutive batches of these sizes."""
    out, start = [], 0
    for size in sizes:
        rows = slice(start, start + size)
        out.append(tuple({k: v[rows] for k, v in part.items()} for part in data))
        start += size
    return out


class Gradients(Callback):
    """Remembers the global gradient norm that each step had when it reached the optimizer."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_train_begin(self, trainer: Trainer) -> None:
        assert trainer.optimizer is not None
        parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]

        def look(*_: Any) -> None:
            total = sum(p.grad.square().sum() for p in parameters if p.grad is not None)
            self.norms.append(float(total) ** 0.5)

        trainer.optimizer.register_step_pre_hook(look)


class Rates(Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        assert trainer.optimizer is not None
        self.seen.append(trainer.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("sizes", [[20, 20, 20], [30, 20, 10], [8, 8, 8, 8, 8, 8, 8, 4]])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_accumulation_equals_the_big_batch(sizes: list[int], optimizer: str) -> None:
    real = diabetes(missing=0.0)
    results = []
    for batches, accumulate in ((slices(real.train, sizes), len(sizes)), (None, 1)):
        data = batches or slices(real.train, [sum(sizes)])
        trainer = Trainer(
            real.model(),
            real.tasks,
            optimizer=optimizer,
            lr=0.05,
            epochs=3,
            accumulate=accumulate,
            progress=False,
        )
        history = trainer.fit(data)
        assert history.epochs[-1]["step"] == 3
        results.append(weights(trainer.model))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=1e-5, atol=1e-6)


def test_the_last_window_is_stepped_too() -> None:
    real = diabetes()
    batches = slices(real.train, [30] * 5)
    trainer = Trainer(real.model(), real.tasks, epochs=2, accumulate=2, progress=False)
    assert trainer.fit(batches).series("step") == [3, 6]


def test_clipping_bounds_the_global_norm() -> None:
    real = diabetes()
    free, bound = Gradients(), Gradients()
    for callback, clip in ((free, None), (bound, 0.05)):
        Trainer(
            real.model(), real.tasks, epochs=1, clip_norm=clip, callbacks=[callback], progress=False
        ).fit(real.batches())
    assert min(free.norms) > 0.05
    assert bound.norms == pytest.approx([0.05] * len(free.norms), rel=1e-4)


def test_cosine_with_warmup_is_stepped_per_step() -> None:
    real = diabetes()
    rates = Rates()
    trainer = Trainer(
        real.model(),
        real.tasks,
        lr=0.1,
        epochs=5,
        scheduler="cosine",
        warmup=0.2,
        callbacks=[rates],
        progress=False,
    )
    trainer.fit(slices(real.train, [20] * 4))
    rise = [0.1 * (i + 1) / 5 for i in range(4)]
    fall = [0.05 * (1 + math.cos(math.pi * i / 16)) for i in range(16)]
    assert rates.seen == pytest.approx(rise + fall)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_a_scheduler_of_ones_own() -> None:
    real = diabetes()
    rates = Rates()

    def halve(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.StepLR:
        assert steps == 4
        return torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)

    Trainer(
        real.model(),
        real.tasks,
        lr=0.8,
        epochs=2,
        accumulate=2,
        scheduler=halve,
        callbacks=[rates],
        progress=False,
    ).fit(slices(real.train, [20] * 3))
    assert rates.seen == pytest.approx([0.8, 0.8, 0.4, 0.2, 0.2, 0.1])


def test_batches_without_a_label_are_skipped_and_counted() -> None:
    real = diabetes(missing=0.0)
    batches = slices(real.train, [30] * 4)
    for name, target in batches[1][1].items():
        target = target.clone()
        target[:] = -100 if name == "sex" else float("nan")
        batches[1][1][name] = target
    batches[2] = (batches[2][0], {"sex": batches[2][1]["sex"]})  # two tasks absent
    seen = []

    class Watch(Callback):
        def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict) -> None:
            seen.append((batch_index, tuple(losses)))

    trainer = Trainer(
        real.model(), real.tasks, method="pcgrad", epochs=1, callbacks=[Watch()], progress=False
    )
    history = trainer.fit(batches)
    everything = ("progress", "pressure", "sex")
    assert seen == [(0, everything), (1, ()), (2, ("sex",)), (3, everything)]
    record = history.epochs[0]
    assert (record["skipped"], record["step"]) == (1, 3)
    assert (record["examples/progress"], record["examples/sex"]) == (60, 90)
    assert "1 batches had no label and were skipped." in history.remarks


def test_skipping_leaves_the_others_as_they_are() -> None:
    real = diabetes(missing=0.0)
    labelled = slices(real.train, [30] * 2)
    empty = (
        labelled[0][0],
        {n: torch.full_like(t, -100) for n, t in labelled[0][1].items() if n == "sex"},
    )
    results = []
    for batches in (labelled, [labelled[0], empty, labelled[1]]):
        trainer = Trainer(real.model(), real.tasks, epochs=2, progress=False)
        trainer.fit(batches)
        results.append(weights(trainer.model))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_no_label_at_all_is_an_error() -> None:
    real = diabetes()
    nothing = (real.train[0], {"progress": torch.full_like(real.train[1]["progress"], torch.nan)})
    with pytest.raises(UserError, match=r"no batch of epoch 1 has a label.*progress"):
        Trainer(real.model(), real.tasks, progress=False).fit([nothing])
    with pytest.raises(UserError, match="holds no batch"):
        Trainer(real.model(), real.tasks, progress=False).fit([])


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("method", ["linear", "mgda", "uncertainty"])
def test_a_loss_that_is_not_finite_is_named_before_any_update(method: str, accumulate: int) -> None:
    real = diabetes(missing=0.0)
    batches = slices(real.train, [30] * 4)
    batches[2][1]["pressure"] = batches[2][1]["pressure"].clone()
    batches[2][1]["pressure"][5] = float("inf")
    states: list[dict[str, Tensor]] = []

    class Watch(Callback):
        def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
            states.append(weights(trainer.model) | weights(trainer.balancer))

    trainer = Trainer(
        real.model(),
        real.tasks,
        method=method,
        accumulate=accumulate,
        callbacks=[Watch()],
        progress=False,
    )
    step = 3 if accumulate == 1 else 1
    with pytest.raises(
        NonFiniteError, match=rf"'pressure' is inf at epoch 1, step {step}, batch index 2"
    ):
        trainer.fit(batches)
    assert len(states) == 3
    now = weights(trainer.model) | weights(trainer.balancer)
    assert all(torch.equal(states[-1][name], now[name]) for name in states[-1])


class Spike(nn.Module):
    """A square root at 0: its value is finite and its slope is not."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = self.inner(x)
        return outputs | {"sex": outputs["sex"] + (outputs["sex"] * 0).sqrt()}


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("method", ["linear", "mgda"])
def test_a_gradient_that_is_not_finite_stops_before_the_update(
    method: str, clip: float | None
) -> None:
    real = diabetes(missing=0.0)
    trainer = Trainer(
        Spike(real.model()), real.tasks, method=method, clip_norm=clip, progress=False
    )
    before = weights(trainer.model)
    said = "'sex'" if method == "mgda" else "tasks together has norm nan"
    with pytest.raises(NonFiniteError, match=rf"{said}.*epoch 1, step 1, batch index 0"):
        trainer.fit(real.batches())
    now = weights(trainer.model)
    assert all(torch.equal(before[name], now[name]) for name in before)


def test_gradients_from_before_the_fit_do_not_count() -> None:
    real = diabetes(missing=0.0)
    results = []
    for stale in (False, True):
        trainer = Trainer(real.model(), real.tasks, optimizer="sgd", epochs=1, progress=False)
        if stale:
            for parameter in trainer.model.parameters():
                parameter.grad = torch.ones_like(parameter)
        trainer.fit(real.batches())
        results.append(weights(trainer.model))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize("method", ["linear", "pcgrad", "mgda"])
def test_a_gradient_scaler_changes_nothing_but_skips_what_overflows(method: str) -> None:
    real = diabetes(missing=0.0)
    data = slices(real.train, [30, 20, 30, 20])
    progress = real.tasks["progress"]
    tasks = real.tasks | {"progress": replace(progress, std=progress.std / 30)}  # steep
    results, steps = [], []
    # 2**126 makes the first scaled gradients infinite; the scaler then halves until they fit.
    for scale in (None, 2.0**14, 2.0**126):
        trainer = Trainer(
            real.model(),
            tasks,
            method=method,
            lr=0.01,
            epochs=6,
            accumulate=2,
            clip_norm=0.5,
            progress=False,
        )
        if scale is not None:
            # CPU twin of what fp16 uses on a GPU.
            trainer.precision.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            trainer.precision.start()
        steps.append(trainer.fit(data).epochs[-1]["step"])
        results.append(weights(trainer.model))
    assert steps[0] == steps[1] == 12
    assert 0 < steps[2] < 12
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-6)
        assert torch.isfinite(results[2][name]).all()


def test_a_bad_task_can_be_left_out_by_policy() -> None:
    from polytask.optimization.create import create_method

    real = diabetes(missing=0.0)
    batches = slices(real.train, [30] * 2)
    batches[1][1]["pressure"] = torch.full_like(batches[1][1]["pressure"], float("inf"))
    method = create_method("linear", non_finite="skip_task")
    history = Trainer(real.model(), real.tasks, method=method, epochs=1, progress=False).fit(
        batches
    )
    assert history.epochs[0]["step"] == 2
    assert math.isfinite(history.epochs[0]["train/pressure/loss"])


class Kinds(nn.Module):
    """Remembers the number type of the outputs before the losses see them."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seen: set[torch.dtype] = set()

    def forward(self, x: Any, return_features: bool = False) -> Any:
        returned = self.inner(x, return_features=return_features)
        outputs = returned[0] if return_features else returned
        self.seen |= {output.dtype for output in outputs.values()}
        return returned


@pytest.mark.parametrize("method", ["linear", "pcgrad", "mgda"])
def test_bf16_runs_the_net_in_half_and_the_losses_in_float32(method: str) -> None:
    real = digits()
    losses: set[torch.dtype] = set()

    class Watch(Callback):
        def on_grad_computed(self, trainer: Trainer, step: Any) -> None:
            losses.update(loss.dtype for loss in step.losses.values())

    model = Kinds(real.model(64))
    trainer = Trainer(
        model,
        real.tasks,
        method=method,
        precision="bf16",
        lr=1e-2,
        epochs=8,
        callbacks=[Watch()],
        progress=False,
    )
    trainer.fit(real.batches(), real.batches("val"))
    assert model.seen == {torch.bfloat16}
    assert not losses & {torch.bfloat16, torch.float16}
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert {output.dtype for output in trainer.outputs(real.test).values()} == {torch.float32}
    assert trainer.evaluate(real.batches("test"))["test/digit/accuracy"] > 0.85


def test_fp16_without_a_gpu_is_refused() -> None:
    real = diabetes()
    with pytest.raises(UserError, match="bf16"):
        Trainer(real.model(), real.tasks, precision="fp16", device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("method", ["linear", "pcgrad"])
def test_every_precision_learns_on_a_gpu(method: str, precision: str) -> None:
    real = digits()
    trainer = Trainer(
        real.model(64),
        real.tasks,
        method=method,
        precision=precision,
        lr=1e-2,
        epochs=12,
        clip_norm=1.0,
        accumulate=2,
        device="cuda",
        progress=False,
    )
    trainer.fit(real.batches(size=32), real.batches("val"))
    assert trainer.evaluate(real.batches("test"))["test/digit/accuracy"] > 0.85


class Curious(Balancer):
    """Equal weights; notes what the trainer tells it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def decide(self, statistic: Any) -> Tensor:
        return torch.ones(len(statistic.tasks))

    def backward(self, losses: Any, **given: Any) -> Any:
        again = given["closure"]()
        assert {n: loss.item() for n, loss in again.items()} == {
            n: loss.item() for n, loss in losses.items()
        }
        self.told.append(("backward", dict(given["counts"])))
        return super().backward(losses, **given)

    def after_step(self) -> None:
        self.told.append("after_step")

    def observe(self, *, scores: Any = None, epoch: Any = None) -> None:
        self.told.append(("observe", epoch, set(scores)))


def test_the_balancer_gets_what_it_may_need() -> None:
    real = diabetes(missing=0.0)
    method = Curious()
    trainer = Trainer(
        real.model(), real.tasks, method=method, epochs=2, accumulate=2, progress=False
    )
    trainer.fit(slices(real.train, [20, 10, 10]), real.batches("val"))
    both = [("backward", dict.fromkeys(real.tasks, n)) for n in (20, 10)]
    epoch = [*both, "after_step", both[1], "after_step"]
    named = set(real.tasks)
    assert method.told == [*epoch, ("observe", 1, named), *epoch, ("observe", 2, named)]


def test_methods_by_name_are_told_the_kinds_of_the_tasks() -> None:
    real = digits()
    trainer = Trainer(real.model(), real.tasks, method="uncertainty", progress=False)
    assert trainer.balancer.kinds == {
        "digit": "classification",
        "odd": "classification",
        "ink": "regression",
    }
