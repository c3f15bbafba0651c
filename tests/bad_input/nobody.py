"""A command as a user who may not read or write everything: root may, whatever the modes say."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

from polytask.cli import run

from .case import Outcome, said

NOBODY = 65534


def as_nobody(words: list[str], folder: Path) -> Outcome:
    """What the command says in `folder` to somebody without rights."""
    if os.getuid() != 0:
        with contextlib.chdir(folder):
            return said(*_run(words))
    reader, writer = os.pipe()
    with contextlib.chdir(folder):
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                os.write(writer, json.dumps(_run(words)).encode())
            finally:
                os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return said(*json.loads(answer))


def _run(words: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    return code, out.getvalue(), err.getvalue()
