"""`polytask auxiliary`: its words, its errors, and from a CSV to the verdict on every helper."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polytask.cli._config import gather
from polytask.cli.auxiliary import select
from polytask.study import select_auxiliaries
from polytask.study.settings import TRAINER_OPTIONS


def words(function) -> set[str]:
    kinds = inspect.signature(function).parameters.values()
    return {p.name for p in kinds if p.kind is not p.VAR_KEYWORD}


def test_the_flags_are_the_words_of_the_function() -> None:
    theirs = words(select_auxiliaries) - {"on_data", "on_notes", "command"}
    assert words(select) - {"config", "json", "plugins"} == theirs | set(TRAINER_OPTIONS)


def test_the_help_tells_the_true_defaults(polytask) -> None:
    said = " ".join(polytask("auxiliary", "--help").out.split())
    defaults = {
        name: p.default for name, p in inspect.signature(select_auxiliaries).parameters.items()
    }
    for word, default in (("finalists", 3), ("seeds", 5), ("epochs", 20), ("batch_size", 256)):
        assert defaults[word] == default
        flag = word.replace("_", "-")
        assert re.search(rf"--{flag} .*?\[default: {default}\]", said), word
    assert list(defaults["lr"]) == [3e-4, 1e-3, 3e-3]
    assert "[default: 3e-4 1e-3 3e-3]" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--data yeast", "which task is to be helped? Name it with --main"),
        ("--main Class1", "which data?"),
        ("--data yeast --main Class1 --candidates Class1", "cannot be its own helper"),
        ("--data yeast --main Class1 --finalists 0", "--finalists should be a whole number"),
        ("--data yeast --main Class1 --rounds 0", "--rounds should be a whole number"),
        ("--data yeast --main Class1 --finalists 2.5", "should be a whole number"),
        ("--data yeast --main Class1 --method linaer", "did you mean 'linear'"),
        ("--data yeast --main Class1 --auxiliary quantized", "did you mean 'quantised'"),
        ("--data yeast --main Class1 --methods linear", "did you mean --method"),
        ("--data yaest --main Class1", "did you mean 'yeast'"),
    ],
)
def test_wrong_words_are_two_lines_and_exit_code_2(polytask, line: str, said: str) -> None:
    done = polytask("auxiliary", *line.split())
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 2
    assert "polytask auxiliary --help" in done.err


def test_a_main_task_that_the_table_lacks(polytask, patients: Path, here: Path) -> None:
    words = ["--data", patients, "--targets", "progression", "high", "--drop", "id"]
    done = polytask("auxiliary", *words, "--main", "hihg")
    assert done.code == 2
    assert "unknown main task 'hihg'; did you mean 'high'?" in done.err
    assert not list(here.iterdir())


def test_a_file_of_settings_has_the_same_words(here: Path) -> None:
    file = here / "helpers.yaml"
    file.write_text(
        "data: adult\nmain: income\nauxiliary: [reconstruction, {quantised: {bins: 3}}]\nlr: 1e-3\n"
    )
    settings = gather(select, file, {"finalists": 2})
    assert (settings["main"], settings["finalists"], settings["lr"]) == ("income", 2, [1e-3])
    assert settings["auxiliary"] == ["reconstruction", {"quantised": {"bins": 3}}]


@pytest.mark.slow
def test_from_csv_to_the_verdict_on_every_helper(patients: Path, tmp_path: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "polytask", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=300,
            env={"COLUMNS": "80", "PATH": ""},
        )

    out = tmp_path / "helpers"
    words = ["--data", patients, "--targets", "progression:regression", "high:binary"]
    words += ["bmi:regression", "--main", "progression", "--drop", "id", "--finalists", 1]
    words += ["--seeds", 2, "--epochs", 2, "--lr", "1e-2", "--workers", 2, "--out", out]

    plan = run("auxiliary", *words, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "7 runs (1 more to screen 2 candidates, 3 sets of helpers" in " ".join(
        plan.stdout.split()
    )
    assert "1 set of the finalists" in plan.stdout
    assert not out.exists()

    first = run("auxiliary", *words)
    assert first.returncode == 0, first.stderr
    told = [
        first.stdout.index(text)
        for text in ("442 rows", "Helpers: gain", "Sets of helpers", "The screen", "report: ")
    ]
    assert told == sorted(told)
    assert max(map(len, first.stdout.splitlines()[:-1])) <= 80

    page = (out / "report.html").read_text(encoding="utf-8")
    written = run("report", out)
    assert written.returncode == 0, written.stderr
    assert (out / "report.html").read_text(encoding="utf-8") == page
    facts = json.loads(run("report", out, "--json").stdout)["studies"][0]
    assert (facts["kind"], facts["main"], facts["complete"]) == ("auxiliary", "progression", True)
    assert len(facts["helpers"]) == 1
    both = run("report", out, out)
    assert (both.returncode, "a selection of helper tasks" in both.stderr) == (2, True)

    # The resolved settings are a study of their own, and nothing is trained again.
    before = {file: file.stat().st_mtime_ns for file in out.glob("runs/*/result.json")}
    again = run("auxiliary", out / "study.yaml", "--json")
    assert again.returncode == 0, again.stderr
    results = json.loads(again.stdout)
    assert (results["kind"], results["complete"]) == ("auxiliary", True)
    assert results["report"] == str(out / "report.html")
    assert before == {file: file.stat().st_mtime_ns for file in out.glob("runs/*/result.json")}
    other = run("compare", out / "study.yaml")
    assert (other.returncode, "unknown key 'main'" in other.stderr) == (2, True)
