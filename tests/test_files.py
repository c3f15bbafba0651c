"""Whole files or none: on a full disk, in folders that refuse, between processes, after kills."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from polytask.errors import UserError
from polytask.files import clear_leftovers, locked, make_folder, sha256, write_bytes, write_text

NOBODY = 65534


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a forked process that does the work: 0 when it comes to its end."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def refused(work: Callable[[], object], *words: str) -> None:
    """Raise unless `work` is refused with these words."""
    with pytest.raises(UserError) as caught:
        work()
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_a_disk_that_takes_no_more_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "big"
    write_bytes(path, b"old")

    def fill() -> None:
        # The system refuses bytes beyond the limit, as a full disk does: in the middle of a write.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        refused(
            lambda: write_bytes(path, b"x" * 200_000),
            "cannot write", "The earlier file is untouched. Free space",
        )  # fmt: skip

    assert in_child(fill) == 0
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["big"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_folder_of_somebody_else_is_said(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for folder in [mine, *mine.parents]:
        if folder.owner() == "root" and str(folder).startswith(str(tmp_path.parents[2])):
            folder.chmod(0o755)

    def try_it() -> None:
        os.setuid(NOBODY)
        refused(lambda: make_folder(mine), "is read-only. Choose one that can be written to")
        refused(lambda: make_folder(mine / "deeper"), "cannot create the folder", "Choose a place")
        refused(lambda: write_text(mine / "file", "x"), "cannot write", "Permission denied")

    assert in_child(try_it) == 0
    assert list(mine.iterdir()) == []


def test_a_lock_is_free_again_when_its_owner_is_killed(tmp_path: Path) -> None:
    code = f"""
        import time, pathlib
        from polytask.files import locked
        with locked(pathlib.Path({str(tmp_path)!r}), "a test"):
            print("held", flush=True)
            time.sleep(60)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="in use by another process"), locked(tmp_path, "a test"):
        pass
    owner.kill()
    owner.wait()
    owner.stdout.close()
    with locked(tmp_path, "a test", wait=5.0):
        pass


def test_leftovers_go_and_whole_files_stay(tmp_path: Path) -> None:
    write_text(tmp_path / "result.json", "{}")
    (tmp_path / ".result.json.abc123.part").write_text("{")
    clear_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
    assert sha256(tmp_path / "result.json").startswith("44136fa355b3678a1146ad16f7e8649e")
