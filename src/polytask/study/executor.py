"""Carries out runs: each in a process of its own, up to `workers` at once.

A run that raises, exits, or is killed is recorded in its `error.json` with the cause, and
the others go on. A run that can only be described in this process (an encoder given as an
object) is carried out here, one after another, by `Here`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from polytask.errors import PolytaskError, UserError, out_of_memory
from polytask.files import clear_leftovers, make_folder
from polytask.study.folder import Outcome, outcome, read_json, run_folder, write_json
from polytask.study.plan import Unit
from polytask.verbosity import VARIABLE

logger = logging.getLogger(__name__)

TARGET = "polytask.study.unit:run_folder"
PRELOAD = (
    "polytask.study.unit",
    "polytask.study.probe",
    "accelerate",
    "safetensors.torch",
    "torch._dynamo",  # torch's optimizers import it when they are built: 2 s a run
    "torchmetrics",
    "yaml",
)
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Asking whether there is a GPU must not start CUDA in the process that forks.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
START = (
    "import sys; sys.path[:] = sys.argv[3:]; from polytask.study.server import main; "
    "main(sys.argv[1], sys.argv[2].split())"
)

Source = Callable[[dict[str, Outcome]], Sequence[Unit]]
"""Outcomes so far -> the runs that could start now, in order; an empty list ends the work."""
Watch = Callable[[Unit, Outcome], None]
"""Told of every run that ends."""


class Processes:
    """A pool of processes over one server; use it as a context manager.

    Args:
        workers: runs at once.
        target: "module:function" called with the run's folder in the child.
        preload: modules that the server imports before it forks.

    Leaving the context, by whatever exception, ends all children. They are in a session of
    their own, so that Ctrl-C reaches this process only, which ends them in order.
    """

    def __init__(
        self, workers: int, *, target: str = TARGET, preload: Sequence[str] = PRELOAD
    ) -> None:
        self.workers = workers
        self.target = target
        self.preload = tuple(preload)
        self._server: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._ready = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None and self._server.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._server.stdin.close()
            if not self._ready:
                self._server.kill()  # still importing: it would only then see the closed pipe
            try:
                self._server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            assert self._server.stdout is not None
            self._server.stdout.close()
            self._server, self._ready = None, False
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def run(
        self,
        source: Source,
        out: Path,
        outcomes: dict[str, Outcome],
        *,
        workers: int | None = None,
        deadline: float = float("inf"),
        watch: Watch = lambda unit, ended: None,
    ) -> None:
        """Start runs as `source` offers them until it offers none and all have ended.

        `outcomes` is filled in. After `deadline` (of `time.monotonic`) nothing is started.
        """
        running: dict[str, Unit] = {}
        limit = workers or self.workers
        while True:
            if time.monotonic() < deadline and len(running) < limit:
                busy = {unit.hash for unit in running.values()}
                for unit in source(outcomes):
                    if len(running) < limit and unit.hash not in busy:
                        folder = prepare(out, unit)
                        running[str(folder)] = unit
                        self._send({"run": str(folder)})
            if not running:
                return
            message = self._receive()
            unit = running.pop(message["ended"])
            ended = settle(Path(message["ended"]), unit, message["status"])
            outcomes[unit.hash] = ended
            watch(unit, ended)

    def start(self) -> None:
        """Let the server begin its imports without waiting for it; `run` does so by itself."""
        if self._server is not None:
            return
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the server
        self._server = subprocess.Popen(
            [sys.executable, "-c", START, self.target, " ".join(self.preload), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # What runs say goes to their log.txt.
            env={VARIABLE: "info"} | os.environ | ONE_THREAD,
            start_new_session=True,
        )

    def _send(self, message: dict[str, Any]) -> None:
        self.start()
        if not self._ready:
            self._ready = bool(self._receive()["ready"])
        assert self._server is not None
        assert self._server.stdin is not None
        try:
            self._server.stdin.write(json.dumps(message).encode("utf-8") + b"\n")
            self._server.stdin.flush()
        except BrokenPipeError:
            raise self._lost() from None

    def _receive(self) -> dict[str, Any]:
        assert self._server is not None
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise self._lost()
        message: dict[str, Any] = json.loads(line)
        return message

    def _lost(self) -> PolytaskError:
        """The server is gone: its last words."""
        assert self._server is not None
        assert self._errors is not None
        status = self._server.wait()
        self._errors.seek(0)
        words = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        last = words[-1] if words else "it left no message"
        return PolytaskError(
            f"the process that starts the runs {ending(status)} ({last}). "
            "Finished runs are kept; run the same command again."
        )


class Here:
    """Carries out runs in this process, one after another."""

    def __init__(self, target: Callable[[Path], None]) -> None:
        self.target = target
        self.workers = 1

    def __enter__(self) -> Here:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def run(
        self,
        source: Source,
        out: Path,
        outcomes: dict[str, Outcome],
        *,
        workers: int | None = None,
        deadline: float = float("inf"),
        watch: Watch = lambda unit, ended: None,
    ) -> None:
        """As `Processes.run`; `workers` has no meaning here."""
        while time.monotonic() < deadline and (ready := source(outcomes)):
            unit = ready[0]
            folder = prepare(out, unit)
            status = 0
            try:
                self.target(folder)
            except SystemExit as leaving:
                status = leaving.code if isinstance(leaving.code, int) else 1
            ended = settle(folder, unit, status)
            outcomes[unit.hash] = ended
            watch(unit, ended)


def prepare(out: Path, unit: Unit) -> Path:
    """A folder for a run, with its `unit.json`.

    What a try of this very run left that was cut off or killed stays, so that it goes on from
    there; what a run of other settings left, or one that raised an error, is removed.
    """
    folder = run_folder(out, unit.id)
    before, failure = read_json(folder / "unit.json"), read_json(folder / "error.json")
    same = isinstance(before, dict) and before.get("hash") == unit.hash
    raised = isinstance(failure, dict) and "traceback" in failure
    if folder.exists() and (raised or not same):
        shutil.rmtree(folder)
    clear_leftovers(make_folder(folder))
    (folder / "error.json").unlink(missing_ok=True)
    write_json(folder / "unit.json", unit.to_dict())
    return folder


def settle(folder: Path, unit: Unit, status: int) -> Outcome:
    """How a run ended; one that left no word of its own gets an `error.json` that says so."""
    found = outcome(folder, unit.hash)
    if found is None:
        found = {"id": unit.id, "hash": unit.hash, "error": f"the process {ending(status)}"}
        found["log"] = _tail(folder / "log.txt")
        write_json(folder / "error.json", found)
    if "error" in found:
        logger.warning("run %s failed: %s", unit.id, found["error"])
    return found


def record(folder: Path, unit: dict[str, Any], error: Exception) -> None:
    """Write `error.json` for an exception, with its cause and where it came from."""
    cause = str(error) or type(error).__name__
    if not isinstance(error, PolytaskError):
        cause = f"{type(error).__name__}: {cause}"
    if out_of_memory(error):
        cause = "out of memory; use fewer workers or smaller batches"
        cause += f" ({error})" if str(error) else ""
    content = {
        "id": unit["id"],
        "hash": unit["hash"],
        "error": cause,
        "user": isinstance(error, UserError),
        "traceback": traceback.format_exc(),
    }
    write_json(folder / "error.json", content)


def ending(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"ended with exit code {status} without a result"
    name = signal.Signals(-status).name
    hint = (
        "; a system short of memory does that: use fewer workers or smaller batches"
        if -status == signal.SIGKILL
        else ""
    )
    return f"was killed by {name}{hint}"


def _tail(path: Path, length: int = 2000) -> str:
    """The end of a text file, empty when there is none."""
    try:
        return path.read_bytes()[-length:].decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
