"""Parsed arrays: built once, read back as they were, built again when damaged."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polytask.data.parsed import parsed
from polytask.errors import UserError

CARD: dict[str, Any] = {"title": "Squares & cubes", "carriers": []}


class Build:
    """A parser that counts how often it is asked."""

    def __init__(self, **arrays: np.ndarray) -> None:
        self.arrays, self.calls = arrays, 0

    def __call__(self, files: dict[str, Path]) -> dict[str, np.ndarray]:
        assert files == {}
        self.calls += 1
        return self.arrays


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path))
    return tmp_path


def stored(cache: Path) -> list[Path]:
    return sorted((cache / "parsed").rglob("*.safetensors"))


SORTS = {
    "bool": np.array([True, False]),
    "bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "big_endian": np.arange(3, dtype=">i4"),
    "columns_first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "half": np.array([[0.5]], np.float16),
    "empty": np.empty((0, 3), np.float32),
    "number": np.array(3.5),
    "nan": np.array([np.nan, -np.inf]),
    "long": np.array([2**62], np.int64),
}


def test_arrays_come_back_as_they_went(cache: Path) -> None:
    build = Build(**SORTS)
    for found in (parsed(CARD, 1, build), parsed(CARD, 1, build)):
        assert set(found) == set(SORTS)
        for name, array in SORTS.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].shape == array.shape
            assert found[name].dtype == array.dtype.newbyteorder("=")
            assert found[name].flags.c_contiguous
    assert build.calls == 1
    assert len(stored(cache)) == 1


def test_the_version_the_title_and_the_carriers_make_the_name(cache: Path) -> None:
    build = Build(x=np.zeros(1))
    for card, version in ((CARD, 1), (CARD, 2), ({**CARD, "title": "Other"}, 1)):
        parsed(card, version, build)
    assert build.calls == 3
    assert len(stored(cache)) == 3


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "gone"])
def test_a_damaged_file_is_built_again(cache: Path, damage: str) -> None:
    build = Build(x=np.arange(1000))
    parsed(CARD, 1, build)
    (file,) = stored(cache)
    content = bytearray(file.read_bytes())
    if damage == "bit":
        content[-100] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"bit": content, "cut": content[:500], "empty": b""}[damage])
    np.testing.assert_array_equal(parsed(CARD, 1, build)["x"], np.arange(1000))
    assert build.calls == 2
    np.testing.assert_array_equal(parsed(CARD, 1, build)["x"], np.arange(1000))
    assert build.calls == 2


def test_text_is_refused(cache: Path) -> None:
    with pytest.raises(TypeError, match="found names: <U3"):
        parsed(CARD, 1, Build(names=np.array(["abc"])))
    assert not stored(cache)


def test_a_cache_that_cannot_be_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").write_text("in the way")
    monkeypatch.setenv("POLYTASK_CACHE", str(cache / "file"))
    with pytest.raises(UserError, match="POLYTASK_CACHE"):
        parsed(CARD, 1, Build(x=np.zeros(1)))


def test_a_full_disk_still_gives_no_half_file(cache: Path) -> None:
    code = (
        "import resource, numpy as np; from polytask.data.parsed import parsed\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"parsed({CARD!r}, 1, lambda files: {{'x': np.zeros(1000)}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "UserError: cannot write" in done.stderr
    assert "POLYTASK_CACHE" in done.stderr
    assert not stored(cache)


def test_two_processes_build_once(cache: Path) -> None:
    code = (
        "import time, numpy as np; from polytask.data.parsed import parsed\n"
        "def build(files):\n"
        f"    open({str(cache / 'calls')!r}, 'a').write('x')\n"
        "    time.sleep(1)\n"
        "    return {'x': np.arange(9)}\n"
        f"assert parsed({CARD!r}, 1, build)['x'].sum() == 36"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], env=os.environ) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert (cache / "calls").read_text() == "x"
