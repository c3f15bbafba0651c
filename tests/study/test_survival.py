"""What a study does with runs that were cut off, and with processes that outlive their parent."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from polytask.errors import PolytaskError, UserError, out_of_memory
from polytask.study.carry_out import MARK, refuse_other_data
from polytask.study.executor import Processes, prepare, record, settle
from polytask.study.folder import write_json
from polytask.study.plan import Unit
from polytask.study.server import main
from polytask.study.settings import check_folder

RUN = """
import os, time
from pathlib import Path

def run(folder: Path) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(120)
"""


def unit(**config: object) -> Unit:
    return Unit("a-run", {"kind": "train", **config}, "data")


def test_a_run_that_was_cut_off_keeps_what_it_has(tmp_path: Path) -> None:
    folder = prepare(tmp_path, unit(lr=1))
    (folder / "state.safetensors").write_bytes(b"state")
    (folder / ".result.json.x1y2z3.part").write_text("{")
    assert prepare(tmp_path, unit(lr=1)) == folder
    assert not list(folder.glob("*.part"))
    assert (folder / "state.safetensors").read_bytes() == b"state"
    # Options that only say how a run is carried out make no other run of it.
    prepare(tmp_path, Unit("a-run", {"kind": "train", "lr": 1}, "data", {"checkpoint_every": 5}))
    assert (folder / "state.safetensors").exists()
    # Other settings do, and so do other data.
    prepare(tmp_path, unit(lr=2))
    assert [file.name for file in folder.iterdir()] == ["unit.json"]


def test_a_killed_run_keeps_what_it_has_and_a_failed_one_does_not(tmp_path: Path) -> None:
    folder = prepare(tmp_path, unit())
    (folder / "state.safetensors").write_bytes(b"state")
    ended = settle(folder, unit(), -signal.SIGKILL)
    assert "was killed by SIGKILL; a system short of memory does that" in ended["error"]
    prepare(tmp_path, unit())
    assert not (folder / "error.json").exists()
    assert (folder / "state.safetensors").exists()
    try:
        raise RuntimeError("a fault of the model")
    except RuntimeError as error:
        record(folder, unit().to_dict(), error)
    prepare(tmp_path, unit())
    assert [file.name for file in folder.iterdir()] == ["unit.json"]


def test_torch_without_memory_is_named(tmp_path: Path) -> None:
    folder = prepare(tmp_path, unit())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(RuntimeError("shapes differ"))
    record(folder, unit().to_dict(), caught.value)
    said = json.loads((folder / "error.json").read_text())["error"]
    assert said.startswith("out of memory; use fewer workers or smaller batches (")


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs Linux")
def test_runs_end_with_a_server_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main  # the module that the server runs
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "sleeping_run.py").write_text(RUN)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    pids: list[int] = []

    def source(outcomes: dict) -> list[Unit]:
        file = tmp_path / "runs" / "a-run" / "pid"
        if not file.exists():
            return [unit()]
        return []

    with Processes(1, target="sleeping_run:run", preload=()) as pool:
        pool.start()
        assert pool._server is not None
        server = pool._server.pid
        # The run starts, and then its server dies without a chance to end it.
        if os.fork() == 0:
            file = tmp_path / "runs" / "a-run" / "pid"
            until = time.monotonic() + 60
            while not file.exists() and time.monotonic() < until:
                time.sleep(0.02)
            os.kill(server, signal.SIGKILL)
            os._exit(0)
        with pytest.raises(PolytaskError, match=r"was killed by SIGKILL.*Finished runs are kept"):
            pool.run(source, tmp_path, {})
        os.wait()
        pids.append(int((tmp_path / "runs" / "a-run" / "pid").read_text()))
    until = time.monotonic() + 10
    while alive(pids[0]) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(pids[0])


def test_a_folder_that_was_cut_off_before_its_data_is_a_study_s(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".lock").touch()
    (out / ".fingerprint.json.x1y2z3.part").write_text("{")
    assert check_folder(out) == out  # killed before anything has its name
    write_json(out / MARK, {"data": "f00d"})
    (out / "data").mkdir()
    assert check_folder(out) == out  # killed between the mark and the data
    refuse_other_data(out, {"data": "f00d"})
    with pytest.raises(UserError, match="holds a study of other data"):
        refuse_other_data(out, {"data": "beef", "name": "other", "rows": 3})


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
