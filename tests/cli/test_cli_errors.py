"""What a person gets wrong on the command line: two lines, exit code 2, the right word."""

from pathlib import Path
from typing import Any

import pytest

WRONG = {
    # verbs and flags
    "verb": ("comprae", "unknown verb 'comprae'; did you mean 'compare'?"),
    "flag": (
        "compare --epoch 3",
        "unknown flag --epoch of polytask compare; did you mean --epochs?",
    ),
    "flag=value": (
        "compare --sedes=3",
        "unknown flag --sedes of polytask compare; did you mean --seeds?",
    ),
    "single flag": ("train --methods linear", "did you mean --method?"),
    "top flag": ("--jsn", "unknown flag '--jsn'"),
    "negated": ("compare --no-json", "unknown flag --no-json"),
    "no value": ("compare --data", "--data requires an argument"),
    "empty list": ("compare --methods", "--methods requires"),
    "twice": ("compare --epochs 3 --epochs 4", "--epochs specified multiple times"),
    "stray words": ("compare a.yaml b.yaml", "unexpected words at the end: b.yaml"),
    "stray value": ("compare --epochs 3 4", "no study file '4'"),
    # names
    "method": (
        "compare --data adult --methods pcgrd",
        "unknown method 'pcgrd'; did you mean 'pcgrad'?",
    ),
    "argument": ("compare --data adult --methods linear:weight=1", "did you mean 'weights'?"),
    "argument text": ("compare --methods linear:2", "expected ARGUMENT=VALUE"),
    "method twice": ("compare --methods linear linear", "--methods: 'linear' is given twice"),
    "yaml after a list": ("compare --methods linear s.yaml", "put the YAML file first"),
    "architecture": ("compare --architectures hard", "did you mean 'hard_sharing'?"),
    "encoder": ("compare --encoder mpl", "did you mean 'mlp'?"),
    "data set": ("compare --data adlut", "did you mean 'adult'?"),
    "data set option": ("train --data adult:splt=published", "did you mean 'split'?"),
    "no data": ("train", "which data?"),
    "list": ("list method", "unknown list 'method'; did you mean 'methods'?"),
    "pattern": ("list methods *pcgrd*", "did you mean 'pcgrad'?"),
    # numbers and words
    "seeds text": ("compare --seeds three", "--seeds should be a whole number, found 'three'"),
    "seeds 0": ("compare --seeds 0", "--seeds should be a whole number of at least 1, found 0"),
    "seeds -3": ("compare --seeds -3", "found -3"),
    "seeds 2.5": ("compare --seeds 2.5", "--seeds should be a whole number, found '2.5'"),
    "epochs": ("train --epochs 0", "--epochs should be a whole number of at least 1"),
    "lr": ("compare --lr 1e-3 -1", "--lr should be a number above 0, found -1.0"),
    "lr nan": ("compare --lr nan", "--lr should be a number above 0, found nan"),
    "lr text": ("train --lr fast", "--lr"),
    "fraction": (
        "compare --test-fraction 1.5",
        "--test-fraction should be a fraction between 0 and 1",
    ),
    "workers": ("compare --workers 0", "--workers"),
    "time": ("compare --max-time soon", "--max-time should be a time such as 90"),
    "statistic": ("compare --statistic tial", "did you mean 'tail'?"),
    "optimizer": ("train --optimizer adan", "did you mean 'adam'?"),
    "split": ("train --split stratfied", "did you mean 'stratified'?"),
    "split without column": (
        "train --split group",
        "group needs the column, as in --split group:NAME",
    ),
    "select": ("train --select main", "main needs the main task, as in --select main:NAME"),
    "select word": ("train --select gain", "did you mean 'mean_gain'?"),
    # files and columns
    "no file": (
        "train --data houses.csv --targets price",
        "no data set and no file is called 'houses.csv'",
    ),
    "near file": ("train --data patient.csv", "did you mean 'patients.csv'?"),
    "no folder": ("train --data nowhere/houses.csv", "there is no folder 'nowhere'"),
    "a folder": ("train --data folder", "folder is a folder"),
    "empty file": ("train --data empty.csv", "empty.csv is empty (0 bytes)"),
    "no rows": ("train --data header.csv --targets b", "a header but no rows"),
    "table as yaml": (
        "compare patients.csv",
        "is a table, not a study in YAML; pass it with --data",
    ),
    "no targets": ("train --data patients.csv", "which columns of"),
    "column": ("train --data patients.csv --targets progresion", "did you mean 'progression'?"),
    "kind": (
        "train --data patients.csv --targets progression:regresion",
        "did you mean 'regression'?",
    ),
    "wrong kind": ("train --data patients.csv --targets high:regression", "'high'"),
    "drop": ("train --data patients.csv --targets high --drop idd", "did you mean 'id'?"),
    "group column": (
        "train --data patients.csv --targets high --split group:sexx",
        "did you mean 'sex'?",
    ),
    "constant": ("train --data patients.csv --targets flat", "'flat' is constant"),
    "test file": (
        "train --data patients.csv --targets high --test tset.csv",
        "--test: there is no file 'tset.csv'",
    ),
    "out is a file": (
        "train --data patients.csv --targets high --out header.csv",
        "header.csv is a file, not a folder",
    ),
    "out is in use": (
        "train --data patients.csv --targets high --out folder",
        "folder holds other files",
    ),
    "no model": ("predict --data patients.csv", "which model?"),
    "model": ("predict --model nothing --data patients.csv", "there is no folder nothing"),
    "not a model": (
        "predict --model folder --data patients.csv",
        "there is no polytask.json in folder",
    ),
    "predict to": (
        "predict --model m --data patients.csv --out p.xlsx",
        "--out should end in .csv",
    ),
}


@pytest.fixture
def place(here: Path, patients: Path) -> Path:
    """A folder with a table, an empty one, one without rows, and a folder with a note."""
    (here / "patients.csv").write_bytes(patients.read_bytes())
    (here / "empty.csv").touch()
    (here / "header.csv").write_text("a,b\n")
    (here / "folder").mkdir()
    (here / "folder" / "note.txt").write_text("mine")
    return here


@pytest.mark.parametrize(("line", "says"), WRONG.values(), ids=WRONG)
def test_two_lines_and_code_2(place: Path, polytask: Any, line: str, says: str) -> None:
    ran = polytask(*line.split())
    assert says in ran.err
    assert ran.code == 2
    lines = ran.err.strip().splitlines()
    assert lines[-2].startswith("error: ")
    assert "Traceback" not in ran.err
    # Nothing was trained: only what the person put there is there.
    assert sorted(p.name for p in place.iterdir()) == [
        "empty.csv",
        "folder",
        "header.csv",
        "patients.csv",
    ]


def test_an_error_in_json_mode_leaves_stdout_empty(polytask: Any) -> None:
    ran = polytask("compare", "--data", "adlut", "--json")
    assert (ran.code, ran.out) == (2, "")


def test_debug_shows_where(polytask: Any) -> None:
    ran = polytask("compare", "--debug", "--seeds", "0")
    assert ran.code == 2
    assert "Traceback" in ran.err
    assert "error: --seeds should be" in ran.err


def test_our_own_fault_is_code_1(polytask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("polytask.cli.env.describe", broken)
    ran = polytask("env")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "error: polytask failed, and the fault is its own: ZeroDivisionError: division by zero",
        "run again with --debug to see where, and report it",
    ]
    assert "in broken" in polytask("env", "--debug").err


def test_an_interruption_is_no_traceback(polytask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("polytask.cli.env.describe", interrupted)
    ran = polytask("env")
    assert (ran.code, ran.err.count("\n")) == (130, 1)


def test_a_missing_extra_is_named(polytask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cyclopts", None)
    ran = polytask("env")
    assert ran.code == 2
    assert "pip install 'polytask[app]'" in ran.err
