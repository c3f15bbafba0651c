"""The process that forks the runs: imports everything once, then starts a run in 0.03 s.

It is a fresh interpreter, not `multiprocessing`'s forkserver, for three reasons. That one
imports the caller's main module in every child, so a script without
`if __name__ == "__main__":` would start its study again in each of them; here a child gets
the path of a folder and nothing else. That one is shared by the whole process, so another
library may have started it without our imports. And its children outlive a killed parent;
here the pipe closes and they end.

Commands and replies are lines of JSON. In: `{"run": FOLDER}`. Out: `{"ready": true}`, then
`{"ended": FOLDER, "status": N}` with the exit code, or minus the signal. At the end of the
input all children are ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

Target = Callable[[Path], None]
PR_SET_PDEATHSIG = 1


def main(target: str, preload: Iterable[str]) -> None:
    """Serve until the input closes. `target` is "module:function", called with the folder."""
    replies = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints must not mix with the replies
    run = load(target)
    for module in preload:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # the children's collector leaves the shared pages alone
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    _reply(replies, {"ready": True})
    children: dict[int, str] = {}
    pending = b""
    while True:
        readable, _, _ = select.select([0, wake_read], [], [])
        if wake_read in readable:
            _drain(wake_read)
            _reap(children, replies)
        if 0 not in readable:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            _obey(json.loads(line), children, run, replies)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def load(target: str) -> Target:
    """The function that "module:function" names."""
    module, _, function = target.partition(":")
    found: Target = getattr(importlib.import_module(module), function)
    return found


def _obey(command: dict[str, str], children: dict[int, str], run: Target, replies: int) -> None:
    """Start a run."""
    pid = os.fork()
    if pid == 0:
        os.close(replies)
        _child(run, Path(command["run"]))
    children[pid] = command["run"]


def _child(run: Target, folder: Path) -> NoReturn:
    """Run in the forked process, with its output in `log.txt`; never returns."""
    code = 1
    try:
        _end_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for source, to in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, to)
        run(folder)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        # The target records its own errors; what arrives here is recorded by the exit code.
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with_parent() -> None:
    """Ask the system (Linux) to kill this process when the server dies, however it dies.

    Without that, a run whose server was killed would go on unseen, in a folder that the next
    study wants.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _reap(children: dict[int, str], replies: int) -> None:
    """Report every child that has ended."""
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            folder = children.pop(pid)
            _reply(replies, {"ended": folder, "status": os.waitstatus_to_exitcode(status)})


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


def _reply(descriptor: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens: the input will end too
        os.write(descriptor, json.dumps(message).encode("utf-8") + b"\n")
