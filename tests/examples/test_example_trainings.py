"""The examples of commands: whole as they are read, small as they are trained."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from connection import needs_connection

from polytask.data import load_dataset
from polytask.study.data_sets import open_sets

EXAMPLES = Path(__file__).parents[2] / "examples"


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    return loaded


def train(settings: dict[str, Any], folder: Path, verb: str = "train") -> dict[str, Any]:
    """What `polytask train --json`, or another verb, says of a smaller example."""
    (folder / "small.yaml").write_text(
        yaml.safe_dump({**settings, "out": "model"}, sort_keys=False)
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "polytask", verb, "small.yaml", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_two_corpora_differ_in_size_in_rows_and_in_tasks() -> None:
    with needs_connection():
        load_dataset("morphhb", rows=1)
    data = read("two_corpora.yaml")["data"]
    one, other = (source["morphhb"]["books"] for source in data.values())
    assert not set(one) & set(other)
    large, small = open_sets(data).sets.values()
    assert (list(large.tasks), list(small.tasks)) == (["pos"], ["gender", "number"])
    assert large.n > 10 * small.n


@pytest.mark.slow
def test_two_corpora_train_one_network(tmp_path: Path) -> None:
    with needs_connection():
        load_dataset("morphhb", rows=1)
    settings = read("two_corpora.yaml")
    for rows, source in zip((200, 40), settings["data"].values(), strict=True):
        source["morphhb"] |= {"rows": rows, "length": 16}
    settings |= {"epochs": 2, "encoder": {"transformer": {"width": 16, "layers": 1}}}
    told = train(settings, tmp_path)
    assert told["rows"] == {"train": 168, "val": 36, "test": 36}
    assert list(told["test"]) == ["pos", "gender", "number"]
    assert told["examples"]["gender"] == told["examples"]["number"]
    assert 0 < told["examples"]["gender"] < told["examples"]["pos"]
    mixture = yaml.safe_load((tmp_path / "model" / "config.yaml").read_text())["mixture"]
    assert mixture["how"]["schedule"] == "Temperature"
    assert mixture["how"]["batch_size"] == {"pos": 32, "gender+number": 16}


@pytest.mark.slow
def test_two_corpora_are_compared_by_two_schedules(tmp_path: Path) -> None:
    with needs_connection():
        load_dataset("morphhb", rows=1)
    settings = read("compare_corpora.yaml")
    for rows, source in zip((120, 60), settings["data"].values(), strict=True):
        source["morphhb"] |= {"rows": rows, "length": 8}
    settings |= {"epochs": 1, "seeds": 1, "lr": [1e-2], "workers": 2}
    told = train(settings, tmp_path, "compare")
    assert told["complete"]
    assert not any(candidate["failed"] for candidate in told["candidates"])
    assert {c["schedule"] for c in told["candidates"]} == {
        "proportional",
        "temperature (alpha=0.5)",
    }
    large, small = told["dataset"]["sets"]
    assert (large["rows"]["train"], small["rows"]["train"]) == (84, 42)
    # Tags of a verse: more labels than rows.
    assert large["labels"]["pos"] > 4 * 84
    assert set(told["single_task"]) == {"pos", "gender", "number"}


@pytest.mark.slow
def test_twelve_assays_with_four_labels_of_five_missing(tmp_path: Path) -> None:
    with needs_connection():
        data = load_dataset("qm9", **read("assays.yaml")["data"]["qm9"])
    assert len(data.tasks) == 12
    known = np.mean([count / data.n for count in data.labelled().values()])
    assert known == pytest.approx(0.2, abs=0.01)
    settings = read("assays.yaml")
    settings["data"]["qm9"]["rows"] = 300
    settings |= {"epochs": 1, "encoder": {"molecule": {"width": 8, "layers": 1}}}
    told = train(settings, tmp_path)
    assert len(told["test"]) == 12
    shares = np.asarray(list(told["examples"].values())) / told["rows"]["train"]
    assert shares.mean() == pytest.approx(0.2, abs=0.05)
