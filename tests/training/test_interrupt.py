"""Ctrl-C ends a training after the running step, with its state saved."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from real_tasks import diabetes

from polytask.errors import UserError
from polytask.training import Callback, History, Trainer
from polytask.training._resume import STATE


@pytest.fixture(autouse=True)
def ctrl_c_works() -> Iterator[None]:
    """A shell lets what it runs in the background ignore Ctrl-C; so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class CtrlC(Callback):
    """Presses Ctrl-C in the middle of a batch."""

    def __init__(self, epoch: int, batch: int, times: int = 1) -> None:
        self.at, self.times = (epoch, batch), times

    def on_grad_computed(self, trainer: Trainer, step: object) -> None:
        if (trainer.state.epoch, trainer.state.batch) == self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


def trainer(out: Path | None, *callbacks: Callback) -> Trainer:
    real = diabetes()
    return Trainer(
        real.model(dropout=0.2), real.tasks, epochs=3, out=out, callbacks=callbacks, progress=False
    )


def test_the_running_step_is_saved(tmp_path: Path) -> None:
    real = diabetes()
    whole = trainer(None)
    whole.fit(real.batches(), real.batches("val"))
    with pytest.raises(KeyboardInterrupt) as stop:
        trainer(tmp_path, CtrlC(2, 3)).fit(real.batches(), real.batches("val"))
    # The step was finished: 4 of 5 batches of the second epoch.
    assert "the state after epoch 2, 4 batches, 9 steps" in stop.value.__notes__[0]
    assert "the same call goes on from there" in stop.value.__notes__[0]
    assert (tmp_path / STATE).exists()
    again = trainer(tmp_path)
    again.fit(real.batches(), real.batches("val"))
    assert again.history.taken_up == "resumed after epoch 2, 4 batches, 9 steps"
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_interrupts_at_once(tmp_path: Path) -> None:
    real = diabetes()
    with pytest.raises(KeyboardInterrupt) as stop:
        trainer(tmp_path, CtrlC(1, 2, times=2)).fit(real.batches(), real.batches("val"))
    assert not hasattr(stop.value, "__notes__")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_comes_with_the_last_writes_still_stops_the_program(tmp_path: Path) -> None:
    real = diabetes()
    late = trainer(tmp_path)
    write = late.folder.finish

    def finish(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(*arguments)

    late.folder.finish = finish
    with pytest.raises(KeyboardInterrupt):
        late.fit(real.batches(), real.batches("val"))
    # The results were written all the same, and nothing is left to be done.
    assert History.read(tmp_path).best_epoch is not None
    assert not (tmp_path / STATE).exists()


def test_without_a_folder_it_interrupts_at_once() -> None:
    real = diabetes()
    cut = trainer(None, CtrlC(1, 2))
    with pytest.raises(KeyboardInterrupt):
        cut.fit(real.batches(), real.batches("val"))
    assert cut.state.batch == 2


def test_a_disk_that_takes_no_state_is_said_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = diabetes()
    cut = trainer(tmp_path)
    from polytask.training import _resume

    def full(path: Path, *args: object) -> str:
        raise UserError(f"cannot write {path}: No space left on device. Free space on the disk.")

    monkeypatch.setattr(_resume, "save_weights", full)
    cut.settings.__dict__["checkpoint_every"] = 0.0
    with pytest.raises(UserError, match="No space left"):
        cut.fit(real.batches(), real.batches("val"))
    # With space again the same call runs to its end.
    monkeypatch.undo()
    trainer(tmp_path).fit(real.batches(), real.batches("val"))
