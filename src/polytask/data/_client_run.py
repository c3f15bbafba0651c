"""Running a package client, and understanding what it says when it fails."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

WAIT_SECONDS = 1800
"""How long one download may take, and how long another process waits for it."""
OFFLINE = {
    "pip": (
        "Temporary failure in name resolution",
        "Name or service not known",
        "nodename nor servname",
        "getaddrinfo failed",
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "Connection refused",
        "Connection reset",
        "Connection broken",
        "Network is unreachable",
        "ProxyError",
        "Read timed out",
    ),
    "npm": (
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ENETUNREACH",
        "EHOSTUNREACH",
        "ERR_SOCKET_TIMEOUT",
    ),
    "apt": (
        "Temporary failure resolving",
        "Could not resolve",
        "Could not connect",
        "Unable to connect",
        "Cannot initiate the connection",
        "Connection timed out",
        "Connection failed",
        "Network is unreachable",
    ),
}
"""What a client prints when it cannot reach its index."""
FULL = {
    errno.ENOSPC: ("No space left", "ENOSPC", "enough free space"),
    errno.EDQUOT: ("Disk quota exceeded", "EDQUOT"),
    errno.EFBIG: ("File too large", "EFBIG"),
    errno.EROFS: ("Read-only file system", "EROFS"),
}
"""What a client prints when the disk does not take what it brings."""


class ClientError(Exception):
    """A client failed; the text is a clause for a message made elsewhere."""


class MissingClientError(ClientError):
    """The client is not on this machine."""


class OfflineError(ClientError):
    """The client is there and cannot reach its index."""


def run(
    client: str, command: Sequence[str], folder: Path, settings: Mapping[str, str] | None = None
) -> list[str]:
    """Run a client's command in `folder`, with more environment variables; its lines of output.

    Raises:
        OfflineError: it has no connection, or did not end in `WAIT_SECONDS`.
        OSError: the disk is full or cannot be written.
        ClientError: it failed otherwise; the text is the line of its output that tells most.
    """
    # apt speaks the user's language, and its words are looked for here.
    env = {**os.environ, "LC_ALL": "C.UTF-8", **(settings or {})}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WAIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OfflineError(f"it did not finish in {WAIT_SECONDS} s.") from error
    except OSError as error:
        raise ClientError(f"{command[0]} does not start: {error.strerror or error}.") from error
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode == 0:
        return lines
    for number, words in FULL.items():
        if _telling(lines, words):
            raise OSError(number, os.strerror(number))
    raise offline(client, lines) or ClientError(f"{_reason(lines).rstrip('.')}.")


def offline(client: str, lines: Sequence[str]) -> OfflineError | None:
    """The error that a client's output tells of, when it tells that there is no connection."""
    said = _telling(lines, OFFLINE[client])
    return OfflineError(f"{said.split('connection broken by ')[-1].rstrip('.')}.") if said else None


def output(command: Sequence[str]) -> str:
    """What a command prints on stdout, whatever it thinks of it."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.stdout


def _telling(lines: Sequence[str], words: Sequence[str]) -> str | None:
    """The first line that holds one of `words`, a sentence rather than a code."""
    found = [line for line in lines if any(word in line for word in words)]
    return next((line for line in found if len(line.split()) > 5), found[0] if found else None)


def _reason(lines: Sequence[str]) -> str:
    """The line that tells most: npm's first sentence, the last error of the others."""
    npm = [line for line in lines if line.startswith("npm error") and len(line.split()) > 5]
    if npm:
        return npm[0]
    errors = [line for line in lines if line.startswith(("ERROR", "E:")) and line[-1] != ":"]
    return (errors or lines or ["(no output)"])[-1]
