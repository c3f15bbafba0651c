"""Fetching: from the package index once, then from the cache, and never half a file."""

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from polytask.data import dataset_card
from polytask.data.fetch import UnreachableError, cache_folder, fetch
from polytask.errors import UserError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_fetches_at_once_give_one_whole_file(cache: Path) -> None:
    card = dataset_card("yeast")
    found: list[Path | Exception] = []

    def get() -> None:
        try:
            found.append(fetch(card))
        except UserError as error:
            found.append(error)

    threads = [threading.Thread(target=get) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(isinstance(item, UnreachableError) for item in found):
        pytest.skip(f"pip reports no connection: {found}")
    target = cache / "river-0.26.1" / "yeast.csv.gz"
    assert found == [target, target]
    rest = {file.name for file in target.parent.iterdir()}
    assert rest - {f"{target.name}.lock"} == {target.name}


def test_a_changed_file_in_the_cache_is_fetched_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a reachable index the attempt itself shows: the changed file was not accepted."""
    only_from(monkeypatch, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    card = dataset_card("yeast")
    target = cache / "river-0.26.1" / "yeast.csv.gz"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"half a fi")
    with pytest.raises(UnreachableError, match="pip cannot reach") as caught:
        fetch(card)
    assert card["address"] in str(caught.value)
    assert "river==0.26.1" in str(caught.value)


def only_from(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Let pip look at nothing but what `settings` name, whatever this machine is set to."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def wheel_index(folder: Path, content: bytes) -> None:
    """A folder that pip can install from: one wheel of a package with one data file."""
    with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carrier/data.csv", content)
        about = {"METADATA": "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"}
        about["WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        about["RECORD"] = ""
        for name, text in about.items():
            wheel.writestr(f"carrier-1.0.dist-info/{name}", text)


def test_a_file_that_was_swapped_is_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel_index(tmp_path, b"a,b\n1,2\n")
    only_from(monkeypatch, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    other = hashlib.sha256(b"a,b\n1,3\n").hexdigest()
    card = {"title": "Carrier", "address": "https://example.org/data", "package": "carrier"}
    card |= {"version": "1.0", "member": "carrier/data.csv", "sha256": other}
    with pytest.raises(UserError, match=r"is not the file that was published .*nothing was kept"):
        fetch(card)
    assert not (cache / "carrier-1.0" / "data.csv").exists()
    with pytest.raises(UserError, match=r"carrier==1\.0 does not hold carrier/other\.csv"):
        fetch(card | {"member": "carrier/other.csv"})
    with pytest.raises(UserError, match=r"pip could not download it.*https://example\.org/data"):
        fetch(card | {"version": "2.0"})
    right = hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert fetch(card | {"sha256": right}).read_bytes() == b"a,b\n1,2\n"


def test_a_cache_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="Set POLYTASK_CACHE to a folder that can be written"):
        fetch(dataset_card("yeast"))


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYTASK_CACHE", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "polytask"
    monkeypatch.setenv("POLYTASK_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"


def test_listing_and_cards_import_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from polytask.data import list_datasets, dataset_card;"
        "[dataset_card(n) for n in list_datasets()];"
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
