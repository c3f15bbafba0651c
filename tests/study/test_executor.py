"""The executor with runs that succeed, raise, exit and kill themselves."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from polytask.errors import PolytaskError
from polytask.study.executor import Processes
from polytask.study.plan import Unit

# What the children run: real code in a real module that they import by name.
TARGET = """
import json, os, signal, sys, time
from pathlib import Path
from polytask.study.executor import record
from polytask.study.folder import write_json

def run(folder: Path) -> None:
    unit = json.loads((folder / "unit.json").read_text())
    what = unit["config"]["what"]
    (folder / "started").write_text(f"{os.getpid()} {os.getppid()} {os.environ['OMP_NUM_THREADS']}")
    print("about to", what, flush=True)
    if what == "raise":
        try:
            raise RuntimeError("the reason")
        except RuntimeError as error:
            record(folder, unit, error)
        return
    if what == "exit":
        sys.exit(7)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "uncaught":
        raise ValueError("nobody caught this")
    time.sleep(unit["config"].get("seconds", 0))
    write_json(folder / "result.json", {"id": unit["id"], "hash": unit["hash"], "pid": os.getpid()})
"""


@pytest.fixture
def target(tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "study_target.py").write_text(textwrap.dedent(TARGET))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    return "study_target:run"


def units(*words):
    return [Unit(f"{i}-{word}", {"what": word, "i": i}, "data") for i, word in enumerate(words)]


def waiting(all_units):
    return lambda outcomes: [u for u in all_units if u.hash not in outcomes]


def test_failures_are_recorded_with_their_cause_and_the_others_go_on(target, tmp_path):
    todo = units("fine", "raise", "exit", "kill", "segfault", "uncaught", "fine")
    outcomes, order = {}, []
    with Processes(2, target=target, preload=()) as pool:
        pool.run(waiting(todo), tmp_path, outcomes, watch=lambda u, o: order.append(u.id))
    by_word = {u.id.split("-")[1]: outcomes[u.hash] for u in todo}
    assert len(outcomes) == len(order) == 7
    assert all("error" not in outcomes[u.hash] for u in (todo[0], todo[6]))
    assert by_word["raise"]["error"] == "RuntimeError: the reason"
    assert "exit code 7" in by_word["exit"]["error"]
    assert "SIGKILL" in by_word["kill"]["error"]
    assert "memory" in by_word["kill"]["error"]
    assert "SIGSEGV" in by_word["segfault"]["error"]
    assert "nobody caught this" in by_word["uncaught"]["log"]
    saved = json.loads((tmp_path / "runs" / "3-kill" / "error.json").read_text())
    assert saved == by_word["kill"]
    assert (tmp_path / "runs" / "0-fine" / "log.txt").read_text() == "about to fine\n"


def test_each_run_has_its_own_single_threaded_process(target, tmp_path):
    todo = units("fine", "fine", "fine")
    outcomes = {}
    with Processes(3, target=target, preload=()) as pool:
        pool.run(waiting(todo), tmp_path, outcomes)
    lines = [(tmp_path / "runs" / u.id / "started").read_text().split() for u in todo]
    assert len({line[0] for line in lines}) == 3
    assert len({line[1] for line in lines} | {str(os.getpid())}) == 2  # one server, not us
    assert {line[2] for line in lines} == {"1"}


def test_no_more_than_workers_at_once_and_dependent_runs_start_when_they_can(target, tmp_path):
    first, second = units("fine", "fine")
    started = []

    def source(outcomes):
        ready = [first] if first.hash not in outcomes else [second]
        started.append([u.id for u in ready if u.hash not in outcomes])
        return [u for u in ready if u.hash not in outcomes]

    outcomes = {}
    with Processes(2, target=target, preload=()) as pool:
        pool.run(source, tmp_path, outcomes)
    assert set(outcomes) == {first.hash, second.hash}
    assert started[0] == ["0-fine"]


def test_nothing_is_started_after_the_deadline(target, tmp_path):
    todo = units("fine", "fine")
    outcomes = {}
    with Processes(1, target=target, preload=()) as pool:
        pool.run(
            waiting(todo),
            tmp_path,
            outcomes,
            deadline=time.monotonic() + 60,
            watch=lambda u, o: None,
        )
        assert len(outcomes) == 2
        late = units("fine", "fine", "fine")[2:]
        pool.run(waiting(late), tmp_path, outcomes, deadline=time.monotonic() - 1)
    assert len(outcomes) == 2
    assert not (tmp_path / "runs" / "2-fine").exists()


def test_an_exception_here_ends_the_children(target, tmp_path):
    slow = Unit("slow", {"what": "sleep", "seconds": 60}, "data")
    quick = Unit("quick", {"what": "fine"}, "data")

    def stop(unit, ended):
        while not (tmp_path / "runs" / "slow" / "started").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Processes(2, target=target, preload=()) as pool:
        pool.run(waiting([slow, quick]), tmp_path, {}, watch=stop)
    pid = int((tmp_path / "runs" / "slow" / "started").read_text().split()[0])
    assert _gone(pid)
    assert not (tmp_path / "runs" / "slow" / "result.json").exists()


def test_children_of_a_killed_parent_end(target, tmp_path):
    script = textwrap.dedent(f"""
        from pathlib import Path
        from polytask.study.executor import Processes
        from polytask.study.plan import Unit
        slow = Unit("slow", {{"what": "sleep", "seconds": 60}}, "data")
        with Processes(1, target="study_target:run", preload=()) as pool:
            pool.run(lambda outcomes: [slow], Path({str(tmp_path)!r}), {{}})
    """)
    env = os.environ | {"PYTHONPATH": str(tmp_path / "modules")}
    parent = subprocess.Popen([sys.executable, "-c", script], env=env)
    started = tmp_path / "runs" / "slow" / "started"
    deadline = time.monotonic() + 60
    while not (started.exists() and started.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _gone(int(started.read_text().split()[0]))


def test_a_server_that_cannot_start_says_why(tmp_path):
    with (
        pytest.raises(PolytaskError, match="no_such_module"),
        Processes(1, target="no_such_module:run") as pool,
    ):
        pool.run(waiting(units("fine")), tmp_path, {})


def _gone(pid):
    """Whether a process ends within a few seconds (a zombie of another parent has ended)."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
