"""Ctrl-C and SIGTERM end a command in order: a word on how to go on, no process left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROBE = """
import os, signal, sys, time
import polytask.cli.env
from polytask.cli import main

def stopped():
    os.kill(os.getpid(), signal.{came})
    time.sleep(60)

polytask.cli.env.describe = stopped
signal.signal(signal.SIGINT, signal.{interrupt})
main(["env", "--json"])
"""


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("came", "interrupt", "code"),
    [
        ("SIGINT", "default_int_handler", 130),
        ("SIGTERM", "default_int_handler", 143),
        # How a shell starts what it runs in the background.
        ("SIGTERM", "SIG_IGN", 143),
    ],
)
def test_exit_code_and_one_line(came: str, interrupt: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(came=came, interrupt=interrupt)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == (
        "interrupted: run the same command again to go on; what is finished is kept\n"
    )


def test_the_signal_of_the_caller_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    from polytask.cli import main

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        main(["list", "methods", "--json"])
    assert left.value.code == 0
    assert json.loads(capsys.readouterr().out)
    assert signal.getsignal(signal.SIGTERM) is before


def listen_to_interrupts() -> None:
    """What a shell turns off for commands that it starts in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def started(*words: object) -> Iterator[subprocess.Popen[str]]:
    """A command that runs; it is killed when the test ends before it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "polytask", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=listen_to_interrupts,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(seen: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def offspring(parent: int) -> set[int]:
    """The processes that descend from one, whatever session they are in."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # After the name, which may hold anything, come the state and the parent.
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat[1])
    found, new = set(), {parent}
    while new:
        new = {child for child, of in parents.items() if of in new} - found
        found |= new
    return found


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_training_ends_and_says_how_to_go_on(
    patients: Path, tmp_path: Path, number: int, code: int
) -> None:
    words = ["--data", patients, "--targets", "progression", "high", "--drop", "id", "flat"]
    model = tmp_path / "m"
    options = ["--epochs", 100_000, "--patience", 100_000, "--out", model]
    record = model / "metrics.jsonl"
    with started("train", *words, *options) as process:
        wait_for(lambda: record.exists() and len(record.read_text().splitlines()) > 2, process)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert last_line(said).startswith("interrupted: the state after epoch ")
    assert last_line(said).endswith(
        "is in " + str(model) + ", and the same call goes on from there"
    )
    assert (model / "state.safetensors").exists()
    assert "Traceback" not in said
    # What was written is whole.
    assert all(json.loads(line) for line in record.read_text().splitlines())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_study_ends_with_all_its_processes(patients: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    words = ["--data", patients, "--targets", "progression", "high", "--drop", "id", "flat"]
    words += ["--methods", "linear", "--encoder", "mlp:hidden=[8]", "--workers", 2, "--lr", 1e-2]
    with started("compare", *words, "--epochs", 100_000, "--out", out, "--json") as process:
        wait_for(lambda: bool(list(out.glob("runs/single-*/metrics.jsonl"))), process)
        children = offspring(process.pid)
        assert len(children) >= 3  # what starts the runs, and two of them
        process.send_signal(signal.SIGTERM)
        told, said = process.communicate(timeout=60)
    assert (process.returncode, told) == (143, ""), said
    assert "runs are finished and kept in" in last_line(said)
    assert "the same command goes on from there" in last_line(said)
    assert "Traceback" not in said
    assert not [child for child in children if alive(child)]
    results = json.loads((out / "results.json").read_text())
    assert results["complete"] is False
