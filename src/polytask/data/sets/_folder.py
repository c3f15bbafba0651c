"""Checks of a folder that the user brings: what is in it, and whether the memory will do."""

from __future__ import annotations

import os
from pathlib import Path

from polytask.errors import UserError


def given_folder(name: str, folder: str | Path, provided: str) -> Path:
    """The folder as a path.

    Raises `UserError`, with the card's sentence on where to get the data and what the folder
    must hold, when none is named or there is none.
    """
    if not str(folder):
        raise UserError(f"{name} cannot be fetched; name your copy with folder=. {provided}")
    path = Path(folder).expanduser()
    if not path.is_dir():
        found = "a file" if path.is_file() else "nothing"
        raise UserError(f"{name}: expected the folder {path}, found {found} there. {provided}")
    return path


def numbered(name: str, folder: Path, suffix: str) -> int:
    """How many files 0.SUFFIX to n-1.SUFFIX a folder holds.

    Raises:
        UserError: there is no such folder, it holds none of them, or a number is missing.
    """
    if not folder.is_dir():
        raise UserError(f"{name}: expected the folder {folder} with 0{suffix}, 1{suffix}, ...")
    found = {file.name for file in folder.glob(f"*{suffix}")}
    for i in range(len(found)):
        if f"{i}{suffix}" not in found:
            odd = sorted(found - {f"{k}{suffix}" for k in range(len(found))})[0]
            raise UserError(
                f"{name}: {folder} holds {len(found)} {suffix} files, which should be numbered "
                f"from 0 to {len(found) - 1}; {i}{suffix} is missing and {odd} is there."
            )
    if not found:
        raise UserError(f"{name}: {folder} holds no {suffix} file; expected 0{suffix} and more.")
    return len(found)


def check_memory(name: str, size: float, remedy: str) -> None:
    """Raise `UserError` when arrays of `size` bytes exceed the machine's memory.

    Training holds its own copies beside them, about twice as much again.
    """
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return  # this system does not tell
    if size > machine:
        raise UserError(
            f"{name}: these rows need {size / 1e9:.1f} GB as arrays, and this machine has "
            f"{machine / 1e9:.1f} GB of memory. {remedy}"
        )
