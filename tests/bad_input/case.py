"""One malformed input: how it comes about, through which door, and what must be said of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from torch.optim.optimizer import register_optimizer_step_post_hook

from polytask.cli import run
from polytask.errors import NonFiniteError, PolytaskError, UserError

ROWS = 80
SENTENCE = re.compile(r"(?<![.\d])(?<!e\.g)[.!?](?:\s+(?=[^\sa-z])|$)")
"""An end of a sentence: not the dots of '...', of 0.5 or of a file's name."""


def patients() -> pd.DataFrame:
    """Real rows: six inputs, a number, a yes/no and three classes to predict."""
    data = load_diabetes(as_frame=True, scaled=False).frame[:ROWS]
    frame = data[["age", "sex", "bmi", "bp", "s1", "s5"]].copy()
    frame["sex"] = np.where(frame["sex"] == 1, "f", "m")
    frame["progression"] = data["target"]
    frame["high"] = np.where(data["target"] > 140, "yes", "no")
    frame["weight"] = pd.cut(frame["bmi"], [0, 23, 27, 99], labels=["low", "mid", "top"])
    frame["weight"] = frame["weight"].astype(object)
    return frame


@dataclass
class Place:
    """The folder in which a case happens; it is the working directory too."""

    folder: Path
    frame: pd.DataFrame = field(default_factory=patients)
    kept: dict[str, Any] = field(default_factory=dict)
    """What `make` hands to `call`."""

    def write(self, name: str, content: str | bytes | pd.DataFrame | None = None) -> Path:
        """A file of the folder: text, bytes, or a table (by default the patients)."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = self.frame if content is None else content
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8", newline="")
        elif name.endswith(".parquet"):
            content.to_parquet(path)
        else:
            content.to_csv(path, index=False)
        return path


@dataclass
class Outcome:
    """What came of it."""

    code: int
    """The command's exit code, or the one the command would have given for the exception."""
    message: str
    """Of the exception; of the command the first line, without 'error: '."""
    advice: str = ""
    """The command's second line."""
    error: Exception | None = None
    text: str = ""
    """Everything that was printed."""
    steps: int = 0
    """Optimizer steps that were taken."""
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)


Make = Callable[[Place], Any]


@dataclass(frozen=True)
class Case:
    """A malformed input and what must be said of it.

    `call` is a command line without `polytask`, or a function of the place. `says` holds words
    of the message, as in "what was expected || what was found || what to do now"; of a command
    the last may stand in its second line.
    """

    name: str
    call: str | list[str] | Make
    says: str
    make: Make | None = None
    door: str = ""
    error: type[Exception] = UserError
    steps: int = 0
    """Optimizer steps that may be taken before it can be known, of a network thrown away."""
    leaves: tuple[str, ...] = ()
    """Whole files that a training which had begun leaves: its settings, no weights."""

    @property
    def fragments(self) -> tuple[str, str, str]:
        """Words of what was expected, of what was found, and of what to do."""
        expected, found, remedy = self.says.split(" || ")
        return expected, found, remedy

    @property
    def words(self) -> list[str]:
        """The command line."""
        assert not callable(self.call)
        return self.call.split() if isinstance(self.call, str) else list(self.call)

    @property
    def through(self) -> str:
        """The door, in words."""
        return self.door or f"polytask {self.words[0]}"


def attempt(case: Case, folder: Path) -> Outcome:
    """Carry a case out in `folder`, which is empty, as the working directory."""
    place = Place(folder)
    with contextlib.chdir(folder), mock.patch.dict(os.environ, {"COLUMNS": "200"}):
        if case.make is not None:
            case.make(place)
        before = contents(folder)
        with counted() as steps:
            outcome = _by_python(case, place) if callable(case.call) else _by_command(case)
        outcome.steps = len(steps)
        outcome.before, outcome.after = before, contents(folder)
    return outcome


def contents(folder: Path) -> dict[str, str]:
    """Every file and folder below, with the hash of what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        held = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = hashlib.sha256(held).hexdigest()
    return found


@contextlib.contextmanager
def counted() -> Iterator[list[int]]:
    """Optimizer steps of this process, one entry each."""
    steps: list[int] = []
    handle = register_optimizer_step_post_hook(lambda *_: steps.append(1))
    try:
        yield steps
    finally:
        handle.remove()


def sentences(message: str) -> int:
    """About how many sentences a message has."""
    return len(SENTENCE.findall(message.strip().rstrip(".!?") + "."))


def _by_command(case: Case) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(case.words)
    return said(code, out.getvalue(), err.getvalue())


def said(code: int, out: str, err: str) -> Outcome:
    """What a command printed, taken apart."""
    lines = err.strip().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    last = starts[-1] if starts else len(lines)
    message = lines[last].removeprefix("error: ") if starts else ""
    return Outcome(code, message, "\n".join(lines[last + 1 :]), text=out + err)


def _by_python(case: Case, place: Place) -> Outcome:
    assert callable(case.call)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            case.call(place)
        except Exception as error:
            code = 2 if isinstance(error, PolytaskError | NonFiniteError) else 1
            return Outcome(code, str(error), error=error, text=out.getvalue())
    return Outcome(0, "", text=out.getvalue())
