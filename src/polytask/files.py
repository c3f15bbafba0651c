"""Files that are either whole or absent, folders that can be written to, and one owner each.

Everything polytask leaves on disk goes through here: a temporary name, a flush to the disk, a
rename. A kill at any moment leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from polytask.errors import UserError, need

LEFTOVER = ".*.part"
"""Glob of what a kill in the middle of a write leaves beside the whole files."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its name when the block ends well.

    A reader sees the old file or the new one, never a part; a failure leaves the old one.
    Raises `OSError` as the system does; see `write_bytes` for an error made for people.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp files are private; give the final file the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` at `path` atomically.

    Raises `UserError` when the disk refuses; the old file, if any, is then untouched.
    """
    try:
        with atomic(path) as file:
            file.write(data)
    except OSError as error:
        kept = "The earlier file is untouched. " if path.exists() else ""
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. {kept}"
            "Free space on the disk, or choose a folder that can be written to."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path` atomically, as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def make_folder(path: Path) -> Path:
    """Create a folder and its parents. Raises `UserError` when that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder {path}: {error.strerror or error}. "
            "Choose a place that can be written to."
        ) from error
    if not os.access(path, os.W_OK):
        raise UserError(f"the folder {path} is read-only. Choose one that can be written to.")
    return path


def check_place(path: Path) -> Path:
    """Raise `UserError` unless a folder is or can be made at `path`; nothing is left behind."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UserError(
            f"cannot create the folder {path}: {place} is a file. Choose another place, or another "
            "name."
        )
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".polytask-", dir=place))
    except OSError as error:
        raise UserError(
            f"cannot create the folder {path}: nothing can be written below {place} "
            f"({error.strerror or error}). Choose a place that can be written to."
        ) from error
    return path


def clear_leftovers(folder: Path) -> None:
    """Remove what cut-off writes left in a folder that nobody else writes to now."""
    for part in folder.glob(LEFTOVER):
        part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The hash of a file's content, 64 hexadecimal digits; reads it once, in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def locked(folder: Path, why: str, wait: float = 0.0) -> Iterator[None]:
    """Be the only process that writes to a folder; the system frees it when the process dies.

    Args:
        folder: made when it is not there; it gets a file `.lock`.
        why: what needs it, for the message about a missing package.
        wait: seconds to wait for another owner to end.

    Raises:
        UserError: another process holds it.
        MissingExtraError: filelock is not installed.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise need("filelock", "app", why) from error
    lock = FileLock(make_folder(folder) / ".lock", timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{folder} is in use by another process; wait for it, or use another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the platform lets a folder be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
