"""The trainer on real data, from batches to a chosen checkpoint."""

from __future__ import annotations

import logging
import math
import random

import numpy as np
import pytest
import torch
import yaml
from real_tasks import diabetes, digits
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from polytask.architectures.single_task import SingleTask
from polytask.errors import UserError
from polytask.metrics import Metric, Undefined
from polytask.tasks import Task
from polytask.training import History, Trainer


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["linear", "uncertainty", "pcgrad", "mgda", "gls", "rlw"])
def test_learns_diabetes_with_missing_labels(method: str) -> None:
    real = diabetes(missing=0.3)
    trainer = Trainer(real.model(), real.tasks, method=method, epochs=25, lr=1e-2, progress=False)
    history = trainer.fit(real.batches(), real.batches("val"))
    scores = trainer.evaluate(real.batches("test"))
    train, test = real.train[1], real.test[1]
    for name, task in real.tasks.items():
        trivial = task.trivial(train[name], test[name])
        reached = scores[f"test/{name}/{task.primary.name}"]
        sign = 1 if task.primary.direction == "max" else -1
        assert sign * (reached - trivial) > 0, (name, reached, trivial)
    labelled = int((~train["progress"].isnan()).sum())
    assert history.series("examples/progress") == [labelled] * 25
    assert history.epochs[-1]["step"] == 25 * len(real.batches())


def test_learns_digits_and_counts_what_it_saw(tmp_path) -> None:
    real = digits()
    trainer = Trainer(
        real.model(64), real.tasks, epochs=15, lr=1e-2, out=tmp_path / "run", progress=False
    )
    history = trainer.fit(real.batches(), real.batches("val"))
    assert trainer.evaluate(real.batches("test"))["test/digit/accuracy"] > 0.9
    keys = set(history.epochs[0])
    assert {"epoch", "step", "seconds", "lr", "skipped", "select/mean_gain"} <= keys
    for name, task in real.tasks.items():
        assert {f"train/{name}/loss", f"examples/{name}", f"weight/{name}"} <= keys
        assert {f"val/{name}/{metric.name}" for metric in task.all_metrics} <= keys
        assert f"val/{name}/loss" in keys
    assert history.series("weight/digit") == [1.0] * 15
    # The folder says the same as the history, and its weights are those in the model.
    assert History.read(tmp_path / "run").epochs == history.epochs
    assert same(load_file(tmp_path / "run" / "model.safetensors"), weights(trainer.model))
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["trainer"]["epochs"] == 15
    assert config["tasks"]["ink"]["role"] == "auxiliary"
    assert not (tmp_path / "run" / "candidates").exists()


def test_the_model_holds_the_best_epoch_afterwards() -> None:
    real = diabetes()
    trainer = Trainer(
        real.model(128), real.tasks, epochs=30, lr=3e-2, select="loss", progress=False
    )
    history = trainer.fit(real.batches(), real.batches("val"))
    totals = [sum(record[f"val/{name}/loss"] for name in real.tasks) for record in history.epochs]
    best = int(np.argmin(totals)) + 1
    assert history.best_epoch == best < 30, "the net must overfit for this test to say something"
    now = trainer.evaluate(real.batches("val"), prefix="val")
    assert now["val/progress/rmse"] == history.epochs[best - 1]["val/progress/rmse"]
    trainer.load_checkpoint("last")
    now = trainer.evaluate(real.batches("val"), prefix="val")
    assert now["val/progress/rmse"] == history.epochs[-1]["val/progress/rmse"]


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.parametrize("rule", ["mean_gain", "mean_rank", "main:sex"])
def test_equal_time_is_the_best_of_the_first_epochs(tmp_path, rule: str, on_disk: bool) -> None:
    real = diabetes()
    trainer = Trainer(
        real.model(),
        real.tasks,
        epochs=12,
        lr=1e-2,
        select=rule,
        checkpoints={"equal_time": 4},
        out=tmp_path / "run" if on_disk else None,
        progress=False,
    )
    history = trainer.fit(real.batches(), real.batches("val"))
    short = Trainer(real.model(), real.tasks, epochs=4, lr=1e-2, select=rule, progress=False)
    expected = short.fit(real.batches(), real.batches("val"))
    assert history.chosen["equal_time"] == expected.best_epoch
    assert history.chosen["last"] == 12
    trainer.load_checkpoint("equal_time")
    assert same(weights(trainer.model), weights(short.model))
    if on_disk:
        names = {file.name for file in (tmp_path / "run").glob("*.safetensors")}
        assert names == {
            "model.safetensors",
            "model_equal_time.safetensors",
            "model_last.safetensors",
        }
        # Another process finds them too.
        later = Trainer(real.model(seed=5), real.tasks, out=tmp_path / "run", progress=False)
        later.load_checkpoint("equal_time")
        assert same(weights(later.model), weights(short.model))


@pytest.mark.parametrize("method", ["linear", "rlw", "mgda"])
def test_same_seed_same_bits(method: str) -> None:
    real = diabetes()

    def run(seed: int) -> tuple[dict[str, Tensor], list]:
        torch.manual_seed(random.randrange(10**6))  # what the caller did before must not matter
        trainer = Trainer(
            real.model(dropout=0.3), real.tasks, method=method, epochs=3, seed=seed, progress=False
        )
        history = trainer.fit(real.batches(), real.batches("val"))
        return weights(trainer.model), history.series("val/progress/rmse")

    first, second, other = run(7), run(7), run(8)
    assert same(first[0], second[0])
    assert first[1] == second[1]
    assert not same(first[0], other[0])


def test_the_callers_random_states_are_untouched() -> None:
    real = diabetes()
    trainer = Trainer(real.model(dropout=0.3), real.tasks, method="rlw", epochs=1, progress=False)
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    trainer.fit(real.batches())
    drawn = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    assert drawn == (torch.rand(1).item(), np.random.rand(), random.random())


class Bare(nn.Module):
    """A user's model: reads its own input, returns outputs and knows of nothing else."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.trunk = nn.Linear(columns, 16)
        self.heads = nn.ModuleDict({n: nn.Linear(16, 1) for n in ("progress", "pressure", "sex")})

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        z = torch.relu(self.trunk(x["x"]))
        return {name: head(z) for name, head in self.heads.items()}


@pytest.mark.parametrize("method", ["linear", "pcgrad"])
def test_a_plain_model_works(method: str) -> None:
    real = diabetes()
    model = Bare(real.train[0]["x"].shape[1])
    before = weights(model)
    trainer = Trainer(model, real.tasks, method=method, epochs=2, progress=False)
    trainer.fit(list(real.batches(shuffle=False)), list(real.batches("val")))
    assert all(not torch.equal(before[name], value) for name, value in weights(model).items())


def test_frozen_parameters_stay() -> None:
    real = diabetes()
    model = real.model()
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    before = weights(model)
    Trainer(model, real.tasks, epochs=2, progress=False).fit(real.batches(), real.batches("val"))
    after = weights(model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if not name.startswith("encoder")}


def test_tensors_are_cut_into_batches_and_predicted_in_order() -> None:
    real = diabetes()
    trainer = Trainer(real.model(), real.tasks, epochs=2, batch_size=100, progress=False)
    history = trainer.fit(real.train, real.val)
    rows = len(real.train[0]["x"])
    assert history.epochs[-1]["step"] == 2 * math.ceil(rows / 100)
    with torch.no_grad():
        expected = trainer.model.eval()(real.test[0])
    outputs, predicted = trainer.outputs(real.test), trainer.predict((real.test[0], {}))
    for name, task in real.tasks.items():
        torch.testing.assert_close(outputs[name], expected[name])
        torch.testing.assert_close(predicted[name], task.predict(outputs[name]))


def test_evaluate_equals_the_metrics_of_all_rows_at_once() -> None:
    real = diabetes()
    trainer = Trainer(real.model(), real.tasks, progress=False)
    streamed = trainer.evaluate(real.batches("test", size=7))
    outputs = trainer.outputs(real.test)
    for name, task in real.tasks.items():
        loss = task.loss(outputs[name], real.test[1][name]).value.item()
        assert streamed[f"test/{name}/loss"] == pytest.approx(loss, rel=1e-5)
        for metric in task.all_metrics:
            meter = metric.fresh(task)
            meter.update(outputs[name], real.test[1][name])
            assert streamed[f"test/{name}/{metric.name}"] == pytest.approx(
                meter.compute(), rel=1e-6
            )


def test_early_stopping_ends_by_the_rule() -> None:
    real = diabetes()
    trainer = Trainer(
        real.model(128), real.tasks, epochs=60, lr=3e-2, patience=3, select="loss", progress=False
    )
    history = trainer.fit(real.batches(), real.batches("val"))
    assert history.stopped_early
    assert len(history.epochs) == history.best_epoch + 3 < 60
    assert any("no better epoch" in remark for remark in history.remarks)


def test_an_undefined_metric_is_remarked_and_left_out() -> None:
    real = diabetes()
    one_class = real.val[1] | {"sex": torch.zeros_like(real.val[1]["sex"])}
    trainer = Trainer(real.model(), real.tasks, epochs=2, progress=False)
    history = trainer.fit(real.train, (real.val[0], one_class))
    assert isinstance(history.epochs[0]["val/sex/auroc"], Undefined)
    assert [remark for remark in history.remarks if remark.startswith("sex: auroc")]
    assert isinstance(history.epochs[0]["select/mean_gain"], float)


def test_nothing_defined_is_an_error_before_training() -> None:
    real = diabetes()
    model = real.model()
    before = weights(model)
    nothing = {name: torch.full_like(t, -100) for name, t in real.val[1].items() if name == "sex"}
    trainer = Trainer(model, real.tasks, epochs=2, progress=False)
    with pytest.raises(UserError, match=r"progress.*no target.*sex.*no labelled"):
        trainer.fit(real.train, (real.val[0], nothing))
    assert same(before, weights(model))


def test_a_custom_task_trains_and_is_described(tmp_path) -> None:
    real = diabetes(missing=0.0)
    both = torch.stack([real.train[1]["progress"], real.train[1]["pressure"]], 1) / 100
    close = Metric(
        "close", "max", lambda output, target: ((output - target).abs() < 0.5).float().mean()
    )
    task = Task(
        "pair",
        "custom",
        size=2,
        loss_function=lambda output, target: (output - target).square(),
        metrics=(close,),
    )
    real.tasks = {"pair": task}
    data = (real.train[0], {"pair": both})
    trainer = Trainer(
        real.model(),
        real.tasks,
        epochs=20,
        lr=1e-2,
        select="main:pair",
        out=tmp_path / "r",
        progress=False,
    )
    history = trainer.fit(data, data)
    closeness = history.series("val/pair/close")
    assert closeness[-1] > closeness[0]
    stored = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["tasks"]["pair"]
    assert stored["kind"] == "custom"
    assert "lambda" in stored["loss_function"]


def test_log_lines_when_there_is_no_terminal(caplog) -> None:
    real = diabetes()
    with caplog.at_level(logging.INFO, logger="polytask.training"):
        Trainer(real.model(), real.tasks, epochs=2).fit(real.batches(), real.batches("val"))
    assert [record.message.split("  ")[0] for record in caplog.records] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    assert "mean gain" in caplog.text


@pytest.mark.parametrize("method", ["linear", "mgda", "uncertainty"])
def test_one_task_alone(method: str) -> None:
    real = diabetes()
    real.tasks = {"sex": real.tasks["sex"]}
    trainer = Trainer(real.model(), real.tasks, method=method, epochs=15, lr=1e-2, progress=False)
    history = trainer.fit(real.batches(), real.batches("val"))
    assert trainer.evaluate(real.batches("test"))["test/sex/auroc"] > 0.6
    assert set(history.epochs[0]) & {"val/progress/rmse", "train/progress/loss"} == set()


def test_independent_networks_train_as_if_alone() -> None:
    """A network per task shares nothing, so no task moves when another one is added."""
    real = diabetes()

    def run(names: list[str]) -> tuple[SingleTask, dict]:
        tasks = {name: real.tasks[name] for name in names}
        columns = real.train[0]["x"].shape[1]
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(columns, 16), nn.ReLU())
        encoder.output_size = 16
        model = SingleTask(encoder, tasks, fresh=False)
        trainer = Trainer(model, tasks, epochs=4, lr=1e-2, select="main:sex", progress=False)
        trainer.fit(real.batches(), real.batches("val"))
        return model, trainer.evaluate(real.batches("test"))

    _, alone = run(["sex"])
    _, together = run(["sex", "progress"])
    assert together["test/sex/log_loss"] == pytest.approx(alone["test/sex/log_loss"], rel=1e-5)


def test_torch_loaders_repeat_with_the_seed() -> None:
    real = diabetes()
    rows = [
        ({"x": x}, {name: target[i] for name, target in real.train[1].items()})
        for i, x in enumerate(real.train[0]["x"])
    ]
    results = []
    for _ in range(2):
        loader = DataLoader(rows, batch_size=64, shuffle=True)
        trainer = Trainer(real.model(), real.tasks, epochs=2, scheduler="cosine", progress=False)
        trainer.fit(loader, DataLoader(rows, batch_size=100))
        results.append(weights(trainer.model))
    assert same(results[0], results[1])


def test_scoring_switches_dropout_off_and_back() -> None:
    real = diabetes()
    trainer = Trainer(real.model(dropout=0.5), real.tasks, progress=False)
    trainer.model.train()
    first, second = (trainer.evaluate(real.batches("test")) for _ in range(2))
    assert first == second
    with torch.no_grad():
        expected = trainer.model.eval()(real.test[0])["sex"]
    trainer.model.train()
    torch.testing.assert_close(trainer.outputs(real.test)["sex"], expected)
    assert trainer.model.training
