"""Whole files in folders that can be written to, or an error the user can act on."""

from __future__ import annotations

import os
from pathlib import Path

from polytask.data._files import atomic
from polytask.errors import UserError


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` at `path` atomically: a kill at any moment leaves the old file or the new one.

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
