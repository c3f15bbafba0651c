"""Arrays that took long to parse, kept in the cache beside the files that they came from."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polytask.data._client_run import WAIT_SECONDS
from polytask.data.fetch import cache_folder, fetch, unwritable
from polytask.errors import UserError, need
from polytask.files import atomic, locked, make_folder

Arrays = dict[str, np.ndarray]


def parsed(
    card: Mapping[str, Any], version: int, build: Callable[[dict[str, Path]], Arrays]
) -> Arrays:
    """The arrays that `build` makes of a card's files, from the cache when they are there.

    One safetensors file in a folder of the cache, named by the card's title, `version` and
    the hashes of its carriers. It appears whole, is checked by a hash when it is read, and is
    built again when it is damaged; processes that need it at the same time build it once. The
    carriers themselves are not needed any more once it is there.

    Args:
        card: the set's data card; see `fetch`.
        version: of `build`: raise it when `build` changes what it returns.
        build: member path -> file, to name -> array of numbers or booleans of any shape.

    Raises:
        UserError: the card's files cannot be fetched or the cache cannot be written.
        MissingExtraError: safetensors or filelock is not installed.
        TypeError: `build` returns arrays that are no numbers.
    """
    try:
        importlib.import_module("safetensors")
    except ImportError as error:
        raise need("safetensors", "app", f"reading {card['title']}") from error
    file = _file(card, version)
    if (arrays := _read(file)) is not None:
        return arrays
    files = fetch(card)
    try:
        make_folder(file.parent)
    except UserError as error:
        raise unwritable(card, str(error)) from error
    with locked(file.parent, f"reading {card['title']}", wait=WAIT_SECONDS):
        if (arrays := _read(file)) is None:
            arrays = {name: _plain(name, array) for name, array in sorted(build(files).items())}
            try:
                _write(file, arrays)
            except OSError as error:
                raise unwritable(card, error.strerror or str(error)) from error
    return arrays


def _file(card: Mapping[str, Any], version: int) -> Path:
    """Where the arrays of a card are kept."""
    hashes = " ".join(carrier["sha256"] for carrier in card["carriers"])
    key = hashlib.sha256(hashes.encode()).hexdigest()[:16]
    title = re.sub(r"\W+", "-", card["title"].lower()).strip("-")[:60]
    return cache_folder() / "parsed" / f"{title}-v{version}-{key}" / "arrays.safetensors"


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    """An array in this machine's byte order, rows first, so that it comes back as it went."""
    array = np.asarray(array)
    if array.dtype.kind not in "buif":
        raise TypeError(f"parsed arrays should be numbers or booleans, found {name}: {array.dtype}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _write(file: Path, arrays: Arrays) -> None:
    from safetensors.numpy import save

    with atomic(file) as stream:
        stream.write(save(arrays, metadata={"sha256": _digest(arrays)}))


def _read(file: Path) -> Arrays | None:
    """The arrays in a file; None when it is absent or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as stored:
            expected = (stored.metadata() or {}).get("sha256")
            arrays = {name: stored.get_tensor(name) for name in sorted(stored.keys())}
    except (OSError, SafetensorError):
        return None
    return arrays if _digest(arrays) == expected else None


def _digest(arrays: Arrays) -> str:
    """One hash of names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
