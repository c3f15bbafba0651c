"""A training that is cut off goes on and ends with the same bits as one that was not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from real_tasks import Real, diabetes, digits
from torch.utils.data import DataLoader, TensorDataset

import polytask
from polytask.errors import UserError
from polytask.training import Callback, History, Trainer
from polytask.training._random import random_state
from polytask.training._resume import STATE


class Cut(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


class CutAfter(Callback):
    """Ends the process's work after so many batches, as a kill between two steps would."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


class Counting(Callback):
    """A callback with state: batches it was told of."""

    def __init__(self) -> None:
        self.seen = 0
        self.random = None

    def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict) -> None:
        self.seen += 1

    def on_train_end(self, trainer: Trainer) -> None:
        self.random = random_state(torch.device("cpu"))

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def fit(
    out: Path | None, real: Real, *, cut: int | None = None, data: Any = None, **options: Any
) -> tuple[Trainer, Counting]:
    """One fit from the same start, cut off after some batches when asked to be."""
    counting = Counting()
    settings = {
        "epochs": 4,
        "scheduler": "cosine",
        "warmup": 0.1,
        "lr": 3e-3,
        "select": "mean_rank",
    }
    trainer = Trainer(
        real.model(dropout=0.2),
        real.tasks,
        out=out,
        checkpoint_every=0,
        callbacks=[counting] if cut is None else [counting, CutAfter(cut)],
        progress=False,
        **{**settings, **options},
    )
    train, val = (real.batches(), real.batches("val")) if data is None else data()
    if cut is None:
        trainer.fit(train, val)
    else:
        with pytest.raises(Cut):
            trainer.fit(train, val)
    return trainer, counting


def everything(trainer: Trainer, counting: Counting) -> dict[str, Any]:
    """All that a fit leaves, without its times."""
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history.epochs]
    fit = trainer._fit
    assert fit is not None
    return {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": fit.stepper.scheduler and fit.stepper.scheduler.state_dict(),
        "balancer": trainer.balancer.state_dict(),
        "state": trainer.state.to_dict(),
        "records": records,
        "chosen": trainer.history.chosen,
        "remarks": trainer.history.remarks,
        "seen": counting.seen,
        "random": counting.random,
    }


def same(one: Any, other: Any, path: str = "") -> None:
    """Fail, naming the place, unless two trees have the same bits."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{path}/{index}")
    elif hasattr(one, "tolist"):
        assert one.tolist() == other.tolist(), path
    else:
        assert one == other, path


def check(tmp_path: Path, real: Callable[[], Real], cuts: tuple[int, ...], **options: Any) -> None:
    """Cut a fit after each number of batches in turn, let it end, compare with a whole one."""
    whole = everything(*fit(tmp_path / "whole", real(), **options))
    for cut in cuts:
        fit(tmp_path / "cut", real(), cut=cut, **options)
        assert (tmp_path / "cut" / STATE).exists()
    ended = everything(*fit(tmp_path / "cut", real(), **options))
    # The callback that cuts has no state, so callbacks' states are those of `Counting` alone.
    same(whole, ended)
    for name in ("model.safetensors", "model_last.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    left = {file.name for file in (tmp_path / "cut").iterdir()}
    assert left == {file.name for file in (tmp_path / "whole").iterdir()}
    assert STATE not in left
    assert "candidates" not in left


@pytest.mark.parametrize("name", polytask.list_methods())
def test_every_method_goes_on_with_the_same_bits(tmp_path: Path, name: str) -> None:
    # 5 batches an epoch: cut in the first, then in the third, then twice shortly after.
    check(tmp_path, diabetes, (4, 9, 1, 2), method=name)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "momentum", "scheduler": None, "warmup": 0.0},
        {"optimizer": "rmsprop", "accumulate": 3},
        {"select": "mean_gain", "patience": 2, "epochs": 30, "lr": 0.1},
        {"select": "loss", "checkpoints": {"early": 2}, "clip_norm": 0.5},
        {"precision": "bf16", "method": "pcgrad"},
        {"seed": 7},
    ],
    ids=lambda options: " ".join(options),
)
def test_every_setting_goes_on(tmp_path: Path, options: dict[str, Any]) -> None:
    check(tmp_path, diabetes, (3, 4), **options)


def test_a_balancer_of_ones_own_goes_on(tmp_path: Path) -> None:
    def options() -> dict[str, Any]:
        generator = torch.Generator().manual_seed(3)
        made = polytask.create_method(
            "pcgrad", generator=generator, smooth=0.5, refresh_every=2, audit_every=3
        )
        return {"method": made}

    whole = everything(*fit(tmp_path / "whole", digits(), **options()))
    for cut in (2, 7):
        fit(tmp_path / "cut", digits(), cut=cut, **options())
    same(whole, everything(*fit(tmp_path / "cut", digits(), **options())))


def test_a_loader_that_shuffles_by_random_numbers_goes_on(tmp_path: Path) -> None:
    real = diabetes(missing=0.0)
    rows = TensorDataset(real.train[0]["x"], *real.train[1].values())
    names = list(real.train[1])

    def collate(items: list[Any]) -> Any:
        x, *targets = (torch.stack(column) for column in zip(*items, strict=True))
        return {"x": x + 0.01 * torch.randn(x.shape)}, dict(zip(names, targets, strict=True))

    for generator in (None, 11):

        def data(seed: int | None = generator) -> Any:
            own = None if seed is None else torch.Generator().manual_seed(seed)
            loader = DataLoader(rows, 64, shuffle=True, collate_fn=collate, generator=own)
            return loader, real.batches("val")

        whole = everything(*fit(tmp_path / f"whole{generator}", real, data=data))
        for cut in (2, 6):
            fit(tmp_path / f"cut{generator}", real, cut=cut, data=data)
        same(whole, everything(*fit(tmp_path / f"cut{generator}", real, data=data)))


def test_a_state_between_two_epochs_goes_on(tmp_path: Path) -> None:
    class AtEpoch(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            if epoch == 3:
                raise Cut

    whole = everything(*fit(tmp_path / "whole", diabetes()))
    real, counting = diabetes(), Counting()
    cut = Trainer(
        real.model(dropout=0.2), real.tasks, epochs=4, scheduler="cosine", warmup=0.1, lr=3e-3,
        select="mean_rank", out=tmp_path / "cut", checkpoint_every=0, progress=False,
        callbacks=[counting, AtEpoch()],
    )  # fmt: skip
    with pytest.raises(Cut):
        cut.fit(real.batches(), real.batches("val"))
    same(whole, everything(*fit(tmp_path / "cut", diabetes())))


def test_saving_changes_nothing(tmp_path: Path) -> None:
    with_states = everything(*fit(tmp_path / "run", diabetes()))
    without = everything(*fit(None, diabetes()))
    same(with_states, without)


def test_other_settings_begin_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(tmp_path / "run", diabetes(), cut=7)
    with caplog.at_level(logging.WARNING, "polytask"):
        other = everything(*fit(tmp_path / "run", diabetes(), lr=1e-3))
    assert "other settings (lr 0.003, now 0.001): starting anew" in caplog.text
    same(other, everything(*fit(None, diabetes(), lr=1e-3)))


def test_resume_false_begins_anew(tmp_path: Path) -> None:
    fit(tmp_path / "run", diabetes(), cut=7)
    again, counting = fit(tmp_path / "run", diabetes(), resume=False)
    assert counting.seen == 4 * 5
    assert again.history.epochs[0]["epoch"] == 1


def test_other_data_are_refused(tmp_path: Path) -> None:
    fit(tmp_path / "run", diabetes(), cut=7)
    changed = diabetes()
    changed.train[0]["x"][17, 2] += 1e-3
    before = (tmp_path / "run" / STATE).read_bytes()
    with pytest.raises(UserError, match=r"same settings but other training data.*resume=False"):
        fit(tmp_path / "run", changed)
    assert (tmp_path / "run" / STATE).read_bytes() == before


def test_a_damaged_state_is_not_taken_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(tmp_path / "run", diabetes(), cut=7)
    path = tmp_path / "run" / STATE
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40
    path.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING, "polytask"):
        ended = everything(*fit(tmp_path / "run", diabetes()))
    assert "is damaged" in caplog.text
    same(ended, everything(*fit(None, diabetes())))


def test_a_finished_training_is_taken_as_it_is_when_asked(tmp_path: Path) -> None:
    first, _ = fit(tmp_path / "run", diabetes())
    again, counting = fit(tmp_path / "run", diabetes(), resume="finished")
    assert counting.seen == 0
    same(first.model.state_dict(), again.model.state_dict())
    assert again.history == first.history == History.read(tmp_path / "run")
    same(first.evaluate(diabetes().batches("test")), again.evaluate(diabetes().batches("test")))
    # Another start, or a weight that was changed on disk, is another training.
    real = diabetes()
    other = Trainer(
        real.model(seed=1, dropout=0.2), real.tasks, epochs=4, scheduler="cosine", warmup=0.1,
        lr=3e-3, select="mean_rank", out=tmp_path / "run", checkpoint_every=0, progress=False,
        resume="finished", callbacks=[counting],
    )  # fmt: skip
    other.fit(real.batches(), real.batches("val"))
    assert counting.seen == 4 * 5


def test_a_training_of_another_version_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tmp_path / "run", diabetes())
    monkeypatch.setattr("polytask.training._fit.__version__", "0.0.0")
    _, counting = fit(tmp_path / "run", diabetes(), resume="finished")
    assert counting.seen == 4 * 5


def test_a_finished_training_is_repeated_otherwise(tmp_path: Path) -> None:
    fit(tmp_path / "run", diabetes())
    _, counting = fit(tmp_path / "run", diabetes())
    assert counting.seen == 4 * 5


def test_a_scheduler_that_no_file_can_hold_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(torch.optim.lr_scheduler.LambdaLR):
        def state_dict(self) -> dict[str, Any]:
            return {"self": self}

    options = {"warmup": 0.0, "scheduler": lambda optimizer, steps: Odd(optimizer, lambda _: 1.0)}
    with caplog.at_level(logging.WARNING, "polytask"):
        fit(tmp_path / "run", diabetes(), **options)
    assert caplog.text.count("cannot be resumed after a kill: state/scheduler/self is a Odd") == 1
    assert not (tmp_path / "run" / STATE).exists()


def test_two_processes_do_not_share_a_folder(tmp_path: Path, monkeypatch: Any) -> None:
    from polytask.files import locked

    monkeypatch.setattr("polytask.training._fit.LEAVING_SECONDS", 0.2)
    with (
        locked(tmp_path / "run", "a test"),
        pytest.raises(UserError, match="in use by another process"),
    ):
        fit(tmp_path / "run", diabetes())
