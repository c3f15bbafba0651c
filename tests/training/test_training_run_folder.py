"""The run folder: whole files at any moment, and what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
import yaml
from real_tasks import diabetes

from polytask.errors import UserError
from polytask.files import write_bytes, write_text
from polytask.metrics import Undefined
from polytask.training import Callback, History, Trainer, environment
from polytask.training._device import find_device
from polytask.training._weights import load_weights, put, save_weights, snapshot
from polytask.training.run_folder import RunFolder


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "metrics.jsonl"
    write_text(path, "old\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left.*earlier file is untouched"):
        write_text(path, "new\n")
    assert path.read_text() == "old\n"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    old = {"w": torch.arange(4.0)}
    save_weights(path, old)
    # The child stops between writing the bytes and renaming them, and is killed there.
    code = f"""
        import os, pathlib, time
        from polytask.files import write_bytes
        def hang(descriptor):
            pathlib.Path({str(tmp_path / "ready")!r}).touch()
            time.sleep(60)
        os.fsync = hang
        write_bytes(pathlib.Path({str(path)!r}), b"half of something else")
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "ready").exists():
            assert child.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert torch.equal(load_weights(path)["w"], old["w"])
    # The next run in this folder tidies up what the kill left; weights stay until it has its own.
    assert len(list(tmp_path.iterdir())) == 3
    RunFolder(tmp_path).start({}, {})
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"ready", "config.yaml", "environment.json", "model.safetensors"}


def test_settings_and_environment_are_there_before_training(tmp_path) -> None:
    real = diabetes()
    seen: dict[str, str] = {}

    class Look(Callback):
        def on_train_begin(self, trainer: Trainer) -> None:
            seen.update({file.name: file.read_text() for file in (tmp_path / "run").glob("*.*")})

    Trainer(
        real.model(),
        real.tasks,
        epochs=1,
        reference={"sex": 0.75},
        out=tmp_path / "run",
        callbacks=[Look()],
        config={"dataset": "diabetes", "split": {"kind": "random", "seed": 0}},
        progress=False,
    ).fit(real.batches(), real.batches("val"))
    assert set(seen) - {".lock"} == {"config.yaml", "environment.json"}
    config = yaml.safe_load(seen["config.yaml"])
    assert config["dataset"] == "diabetes"
    assert config["trainer"]["reference"] == {"sex": 0.75}
    assert config["trainer"]["method"] == "linear"
    assert config["trainer"]["device"] == str(find_device("auto"))
    assert "heads=weighted" in config["trainer"]["balancer"]
    assert list(config["tasks"]) == ["progress", "pressure", "sex"]
    ran_on = json.loads(seen["environment.json"])
    assert ran_on["packages"]["torch"].startswith("2.")
    assert (ran_on["device"]["type"], ran_on["threads"]) == (find_device("auto").type, 1)


def test_a_second_run_in_a_folder_leaves_nothing_of_the_first(tmp_path) -> None:
    real = diabetes()
    for extra in ({"early": 1}, {}):
        trainer = Trainer(
            real.model(), real.tasks, epochs=2, checkpoints=extra, out=tmp_path, progress=False
        )
        trainer.fit(real.batches(), real.batches("val"))
    assert {file.name for file in tmp_path.glob("model*")} == {
        "model.safetensors",
        "model_last.safetensors",
    }
    assert len(History.read(tmp_path).epochs) == 2


def test_the_record_grows_by_a_line_an_epoch(tmp_path) -> None:
    real = diabetes()
    lengths = []

    class Look(Callback):
        def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict) -> None:
            lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
            lengths.append((len(lines), json.loads(lines[-1])["epoch"]))

    one_class = real.val[1] | {"sex": torch.zeros_like(real.val[1]["sex"])}
    trainer = Trainer(
        real.model(), real.tasks, epochs=3, out=tmp_path, callbacks=[Look()], progress=False
    )
    history = trainer.fit(real.train, (real.val[0], one_class))
    assert lengths == [(1, 1), (2, 2), (3, 3)]
    read = History.read(tmp_path)
    assert read.epochs == history.epochs
    assert isinstance(read.epochs[0]["val/sex/auroc"], Undefined)


def test_a_number_that_is_none_is_never_written_as_one() -> None:
    history = History([{"epoch": 1, "a": float("nan"), "b": Undefined("one class"), "c": 0.5}])
    assert json.loads(history.to_jsonl()) == {
        "epoch": 1,
        "a": {"undefined": "the value is nan"},
        "b": {"undefined": "one class"},
        "c": 0.5,
    }


def test_wrong_checkpoints_are_explained(tmp_path) -> None:
    real = diabetes()
    trainer = Trainer(real.model(), real.tasks, epochs=1, progress=False)
    with pytest.raises(UserError, match="nothing has been trained"):
        trainer.load_checkpoint()
    trainer.fit(real.batches())
    with pytest.raises(UserError, match="'bset'; there are: best, last"):
        trainer.load_checkpoint("bset")
    kept = Trainer(real.model(), real.tasks, epochs=1, out=tmp_path, progress=False)
    kept.fit(real.batches())
    with pytest.raises(UserError, match=r"model_other.safetensors.*model_last"):
        kept.load_checkpoint("other")
    other = Trainer(real.model(width=8), real.tasks, out=tmp_path, progress=False)
    with pytest.raises(UserError, match="does not fit this model"):
        other.load_checkpoint()
    file = tmp_path / "model.safetensors"
    write_bytes(file, file.read_bytes()[:-10])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        kept.load_checkpoint()


def test_tied_weights_survive(tmp_path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    save_weights(tmp_path / "w.safetensors", snapshot(model))
    with torch.no_grad():
        expected = model[0].weight.clone()
        model[0].weight.zero_()
    put(model, load_weights(tmp_path / "w.safetensors"), "w")
    assert torch.equal(model[1].weight, expected)
    assert model[1].weight is model[0].weight


def test_a_folder_that_cannot_be_is_said_at_once(tmp_path) -> None:
    real = diabetes()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the folder"):
        Trainer(real.model(), real.tasks, out=tmp_path / "file" / "run")
    with pytest.raises(UserError, match=r"no metrics\.jsonl"):
        History.read(tmp_path)


def test_environment_names_no_machine() -> None:
    described = environment()
    assert set(described) == {
        "packages",
        "python",
        "system",
        "device",
        "cuda",
        "threads",
        "cpus",
        "deterministic_algorithms",
    }
    assert os.getcwd() not in json.dumps(described)
