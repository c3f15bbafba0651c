"""Bad settings, models and batches: said before anything trains. And the order of callbacks."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
import torch
from real_tasks import diabetes
from rich.console import Console
from torch import nn

from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training import Callback, Trainer
from polytask.training._progress import ProgressBar


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"method": "pcgrd"}, "did you mean 'pcgrad'"),
        ({"method": 3}, "a name or a balancer, found int"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"scheduler": "cosin"}, "did you mean 'cosine'"),
        ({"precision": "bf61"}, "did you mean 'bf16'"),
        ({"select": "main:sx"}, "did you mean 'sex'"),
        ({"reference": {"sx": 1.0}}, "did you mean 'sex'"),
        ({"reference": {"sex": float("nan")}}, r"reference\['sex'\] must be a number, found nan"),
        ({"lr": 0}, "lr must be a number above 0, found 0"),
        ({"lr": -1e-3}, "above 0"),
        ({"lr": float("inf")}, "above 0"),
        ({"lr": "0.1"}, "found '0.1'"),
        ({"weight_decay": -1}, "at least 0"),
        ({"warmup": 1.0}, "at least 0 and below 1"),
        ({"warmup": 0.1, "scheduler": lambda optimizer, steps: None}, "build the warm-up into it"),
        ({"epochs": 0}, "whole number of at least 1, found 0"),
        ({"epochs": 2.5}, "whole number"),
        ({"batch_size": 0}, "batch_size"),
        ({"accumulate": 0}, "accumulate"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"patience": 0}, "patience"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"checkpoints": {"best": 3}}, "cannot be called 'best'"),
        ({"checkpoints": {"../x": 3}}, "plain word"),
        ({"checkpoints": {"equal_time": 0}}, "equal_time"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "cuda:99"}, "not present"),
        ({"callbacks": [print]}, "expected a Callback, found builtin_function_or_method"),
        ({"callbacks": [Callback]}, "expected a Callback, found type"),
    ],
)
def test_bad_settings(setting: dict[str, Any], said: str) -> None:
    real = diabetes()
    with pytest.raises(UserError, match=said):
        Trainer(real.model(), real.tasks, **setting)


def test_bad_models_and_tasks() -> None:
    real = diabetes()
    frozen = real.model().requires_grad_(False)
    with pytest.raises(UserError, match="no trainable parameter"):
        Trainer(frozen, real.tasks)
    with pytest.raises(UserError, match="torch module, found a function"):
        Trainer(lambda x: x, real.tasks)
    with pytest.raises(UserError, match="at least one task"):
        Trainer(real.model(), {})
    with pytest.raises(UserError, match="different names"):
        Trainer(real.model(), [Task("a", "regression"), Task("a", "binary")])
    with pytest.raises(UserError, match="are filed under b but are called a"):
        Trainer(real.model(), {"b": Task("a", "regression")})
    with pytest.raises(UserError, match=r"expected a polytask\.Task, found str"):
        Trainer(real.model(), ["a"])


class Returns(nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 1)
        self.what = what

    def forward(self, x: Any) -> Any:
        return self.what(self.layer(x["x"]))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda z: z, "dictionary of outputs by task name, found Tensor"),
        (lambda z: [z, z, z], "found list"),
        (lambda z: {"progress": z, "sex": z}, r"no output for pressure.*found progress, sex"),
        (lambda z: {"progress": z[:3], "pressure": z, "sex": z}, "progress"),
        (lambda z: {"progress": z.repeat(1, 2), "pressure": z, "sex": z}, "progress"),
    ],
)
def test_a_model_that_returns_something_else(what: Any, said: str) -> None:
    real = diabetes()
    with pytest.raises(UserError, match=said):
        Trainer(Returns(what), real.tasks, progress=False).fit(real.batches())


def test_bad_batches() -> None:
    real = diabetes()
    trainer = Trainer(real.model(), real.tasks, epochs=2, progress=False)
    with pytest.raises(UserError, match="an iterator, which is empty after one epoch"):
        trainer.fit(iter(real.batches()))
    with pytest.raises(UserError, match="must be iterable, found int"):
        trainer.fit(3)
    with pytest.raises(UserError, match=r"a pair \(inputs, targets\)"):
        trainer.fit([real.train[0]])
    with pytest.raises(UserError, match="targets of a batch must be a dictionary"):
        trainer.fit([(real.train[0], real.train[1]["sex"])])
    with pytest.raises(UserError, match="nothing to predict"):
        trainer.predict([])


def test_settings_that_need_what_is_not_there() -> None:
    real = diabetes()
    with pytest.raises(UserError, match="patience needs validation data"):
        Trainer(real.model(), real.tasks, patience=2, progress=False).fit(real.batches())

    class Endless:
        """Batches whose number is not known."""

        def __iter__(self) -> Any:
            return iter(real.batches())

    trainer = Trainer(real.model(), real.tasks, scheduler="cosine", epochs=1, progress=False)
    with pytest.raises(UserError, match=r"no len\(\)"):
        trainer.fit(Endless())
    Trainer(real.model(), real.tasks, epochs=1, progress=False).fit(Endless())


class Diary(Callback):
    def __init__(self, name: str, pages: list[tuple]) -> None:
        self.name, self.pages = name, pages

    def on_train_begin(self, trainer: Trainer) -> None:
        self.pages.append((self.name, "train_begin", trainer.state.epoch))

    def on_train_end(self, trainer: Trainer) -> None:
        self.pages.append((self.name, "train_end", trainer.history.best_epoch))

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self.pages.append((self.name, "epoch_begin", epoch))

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict) -> None:
        self.pages.append((self.name, "epoch_end", metrics["epoch"]))

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.pages.append((self.name, "batch_begin", batch_index))

    def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict) -> None:
        self.pages.append((self.name, "batch_end", batch_index))

    def on_grad_computed(self, trainer: Trainer, step: Any) -> None:
        self.pages.append((self.name, "grad", step.statistic))
        assert set(step.weights) == set(trainer.tasks)
        assert step.gramian.shape == (3, 3)


def test_callbacks_are_called_in_order() -> None:
    real = diabetes(missing=0.0)
    pages: list[tuple] = []
    trainer = Trainer(
        real.model(),
        real.tasks,
        method="mgda",
        epochs=2,
        callbacks=[Diary("a", pages), Diary("b", pages)],
        progress=False,
    )
    trainer.fit(real.batches(size=200))
    alone = [page[1:] for page in pages if page[0] == "a"]
    assert [page[1:] for page in pages if page[0] == "b"] == alone
    assert [page[0] for page in pages] == ["a", "b"] * len(alone)
    words = [page[0] if page[0] == "grad" else page for page in alone]

    def epoch(number: int) -> list:
        batches = [b for i in (0, 1) for b in (("batch_begin", i), "grad", ("batch_end", i))]
        return [("epoch_begin", number), *batches, ("epoch_end", number)]

    assert words == [("train_begin", 0), *epoch(1), *epoch(2), ("train_end", 2)]


def test_a_callback_can_end_the_training() -> None:
    real = diabetes()

    class Enough(Callback):
        def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict) -> None:
            trainer.should_stop = epoch == 2

    trainer = Trainer(real.model(), real.tasks, epochs=9, callbacks=[Enough()], progress=False)
    assert len(trainer.fit(real.batches()).epochs) == 2
    assert len(trainer.fit(real.batches()).epochs) == 2  # a second fit starts afresh


def test_the_bar_shows_the_expected_end_and_the_gain(monkeypatch) -> None:
    real = diabetes()
    shown = Console(record=True, force_terminal=True, width=120, file=io.StringIO())
    monkeypatch.setattr("rich.console.Console", lambda stderr: shown)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bars = []

    class Peek(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            bars.append(epoch)

    Trainer(real.model(), real.tasks, epochs=3, callbacks=[Peek()]).fit(
        real.batches(), real.batches("val")
    )
    assert bars == [1, 2, 3]
    text = shown.export_text()
    assert "epoch 3/3" in text
    assert "mean gain" in text


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, polytask.training as t; assert 'torch' not in sys.modules; t.Trainer; "
        "heavy = {'torchmetrics', 'pandas', 'sklearn', 'rich', 'yaml', 'matplotlib', "
        "'accelerate'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert isinstance(ProgressBar(1, None), Callback)
    assert torch.get_num_threads() == 1
