"""`--json` for machines: one document on stdout and nothing else, whatever happens beside it."""

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import pytest

from polytask.cli import VERBS, run

ROOT = Path(__file__).parents[2]


def polytask(*words: object, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, so that nothing it prints can hide."""
    done = subprocess.run(
        [sys.executable, "-m", "polytask", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr
    return done


def document(text: str) -> Any:
    """The one JSON document; NaN and infinities, which are no JSON, are refused."""

    def refuse(word: str) -> NoReturn:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def table(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patients' table where one target has a class that the test part may lack."""
    folder = tmp_path_factory.mktemp("json")
    frame = pd.read_csv(patients)
    frame["visit"] = range(len(frame))
    frame["rare"] = ["yes" if i < 5 else "no" for i in range(len(frame))]
    frame.drop(columns="flat").to_csv(folder / "patients.csv", index=False)
    return folder


def test_every_verb_takes_json() -> None:
    for target, _ in VERBS.values():
        module, _, name = target.partition(":")
        verb = getattr(importlib.import_module(module), name)
        assert inspect.signature(verb).parameters["json"].default is False, target


@pytest.mark.parametrize(
    "line",
    [
        "list --json",
        "list methods --json --verbose",
        "list datasets adult --json --quiet",
        "env --json",
    ],
)
def test_lists_and_facts(line: str, tmp_path: Path) -> None:
    done = polytask(*line.split(), folder=tmp_path)
    assert document(done.stdout)
    assert done.stderr == ""


@pytest.mark.slow
def test_train_and_predict_with_progress_and_notes(
    table: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", "patients.csv", "--targets", "progression", "high", "rare"]
    words += ["--split", "time:visit", "--epochs", 2, "--out", "m", "--json"]
    done = polytask(*words, "--progress", folder=table)
    trained = document(done.stdout)
    # The rows of "yes" are the first ones, so the last part has one class only.
    assert "undefined" in trained["test"]["rare"]["auroc"]
    assert trained["out"] == "m"
    assert "epoch 2/2" in done.stderr
    assert "442 rows" in done.stderr

    ask = ["predict", "--model", "m", "--data", "patients.csv", "--json", "--probabilities"]
    told = document(polytask(*ask, "--verbose", folder=table).stdout)
    assert (told["rows"], told["out"]) == (442, None)
    assert set(told["predictions"][0]) >= {"progression", "high", "high=yes", "rare=no"}

    # Written to a file, and hushed: the same documents, and not a word beside them.
    monkeypatch.chdir(table)
    for line in ([*words, "--progress"], [*ask, "--out", "p.csv"]):
        capfd.readouterr()
        assert run([str(word) for word in (*line, "--quiet")]) == 0
        said = capfd.readouterr()
        assert said.err == ""
        if line[0] == "train":
            assert document(said.out)["test"] == trained["test"]
        else:
            assert document(said.out) == told | {"out": "p.csv"}
    assert len(pd.read_csv("p.csv")) == 442


@pytest.mark.slow
def test_compare_with_progress_and_a_run_that_fails(table: Path) -> None:
    words = ["compare", "--data", "patients.csv", "--targets", "progression", "high"]
    words += ["--drop", "id", "rare", "visit", "--encoder", "mlp:hidden=[8]", "--methods", "linear"]
    words += ["--optimizer", "sgd", "--lr", 1e-2, 1e25, "--seeds", 1, "--epochs", 1]
    words += ["--workers", 2, "--out", "study", "--json"]
    plan = polytask(*words, "--dry-run", folder=table)
    assert "sentence" in document(plan.stdout)["plan"]
    assert not (table / "study").exists()

    done = polytask(*words, "--progress", folder=table)
    told = document(done.stdout)
    assert any(candidate["failed"] for candidate in told["candidates"])
    assert told["report"] == str(Path("study") / "report.html")
    assert "442 rows" in done.stderr
    assert "warning: run " in done.stderr
    assert "run 3 of" in done.stderr
    # What a run says while it trains is in its own folder.
    (log,) = (table / "study").glob("runs/single-high-lr0.01-s0/log.txt")
    assert log.read_text().startswith("epoch 1/1")

    again = polytask(*words, "--quiet", folder=table)
    assert document(again.stdout)["candidates"] == told["candidates"]
    assert again.stderr == ""


@pytest.mark.parametrize(
    "line",
    [
        "compare --data adlut --json",
        "compare --json --sedes 3",
        "train --json",
        "train --data patients.csv --targets hihg --json",
        "predict --json --model nothing --data patients.csv",
        "list nothing --json",
        "env --json --quiet --verbose",
        "--json",
        "data --json fetch nothing",
    ],
)
def test_mistakes_leave_stdout_empty(line: str, table: Path) -> None:
    done = polytask(*line.split(), folder=table, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 2


def test_our_own_fault_leaves_stdout_empty(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("polytask.cli.env.describe", lambda: {"device": object()})
    assert run(["env", "--json"]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert "the fault is its own: TypeError" in said.err
