"""`polytask pareto`: its words, its errors, and from a CSV to a front."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polytask.cli._config import gather
from polytask.cli.pareto import check_reference, pareto
from polytask.study import pareto as study
from polytask.study.settings import TRAINER_OPTIONS


def words(function) -> set[str]:
    kinds = inspect.signature(function).parameters.values()
    return {p.name for p in kinds if p.kind is not p.VAR_KEYWORD}


def test_the_flags_are_the_words_of_the_function() -> None:
    theirs = words(study) - {"on_data", "on_notes", "command"}
    assert words(pareto) - {"config", "json", "plugins"} == theirs | set(TRAINER_OPTIONS)


def test_the_help_tells_the_true_defaults(polytask) -> None:
    said = " ".join(polytask("pareto", "--help").out.split())
    defaults = {name: p.default for name, p in inspect.signature(study).parameters.items()}
    for word, default in (
        ("points", 5), ("method", "epo"), ("seeds", 5), ("epochs", 20), ("batch_size", 256),
        ("select", "preference"),
    ):  # fmt: skip
        assert defaults[word] == default
        assert re.search(rf"--{word.replace('_', '-')} .*?\[default: {default}\]", said), word
    assert "[default: 3e-4 1e-3 3e-3]" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--points 3", "which data?"),
        ("--data yeast --points 0", "--points should be a whole number of at least 1"),
        ("--data yeast --points 2.5", "should be a whole number"),
        ("--data yeast --points 1000", "at most 200"),
        ("--data yeast --method epoo", "did you mean 'epo'"),
        ("--data yeast --method pcgrad", "method that takes a preference"),
        ("--data yeast --method epo:ep=1", "did you mean 'eps'"),
        ("--data yeast --reference Class1", "expected TASK=SCORE"),
        ("--data yeast --reference Class1=high", "expected TASK=SCORE"),
        ("--data yeast --methods linear", "did you mean --method"),
        ("--data yeast --select main", "main:"),
        ("--data yaest", "did you mean 'yeast'"),
        ("--data yaest --select preference", "did you mean 'yeast'"),
    ],
)
def test_wrong_words_are_two_lines_and_exit_code_2(polytask, line: str, said: str) -> None:
    done = polytask("pareto", *line.split())
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 2
    assert "polytask pareto --help" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--targets", "progression"], "at least two tasks"),
        (["--targets", "progression", "high", "--reference", "progression=9"], "no score for high"),
        (
            ["--targets", "progression", "high", "--reference", "progression=9", "hihg=0"],
            "did you mean 'high'",
        ),
    ],
)
def test_what_only_the_data_can_tell(polytask, patients: Path, here: Path, words, said) -> None:
    done = polytask("pareto", "--data", patients, "--drop", "id", *words)
    assert done.code == 2
    assert said in done.err
    assert not list(here.iterdir())


def test_a_file_of_settings_has_the_same_words(here: Path) -> None:
    file = here / "front.yaml"
    file.write_text("data: adult\nmethod: {epo: {eps: 0.01}}\nreference: {a: 0.5, b: 2}\n")
    settings = check_reference(gather(pareto, file, {"points": 3}))
    assert settings["points"] == 3
    assert settings["method"] == {"epo": {"eps": 0.01}}
    assert settings["reference"] == {"a": 0.5, "b": 2.0}
    flags = check_reference(gather(pareto, None, {"reference": ["a=b=0.5", "c=-1e-2"]}))
    assert flags["reference"] == {"a=b": 0.5, "c": -0.01}


@pytest.mark.slow
def test_from_csv_to_a_front(patients: Path, tmp_path: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "polytask", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=600,
            env={"COLUMNS": "80", "PATH": ""},
        )

    out = tmp_path / "front"
    line = f"--drop id --points 3 --seeds 2 --epochs 2 --lr 1e-2 --workers 2 --out {out}".split()
    given = ["--data", patients, "--targets", "progression:regression", "high:binary", *line]

    plan = run("pareto", *given, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "10 runs (3 points and 2 single-task networks)" in " ".join(plan.stdout.split())
    assert not out.exists()

    first = run("pareto", *given)
    assert first.returncode == 0, first.stderr
    assert "Trade-offs on test" in first.stdout
    assert "report:" in first.stdout
    results = json.loads((out / "results.json").read_text())
    assert (results["kind"], results["complete"], len(results["points"])) == ("pareto", True, 3)
    assert not list(out.glob("runs/*/error.json"))

    before = {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*")}
    again = run("pareto", out / "study.yaml", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["points"] == results["points"]
    assert {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*")} == before

    report = run("report", out, "--json")
    assert report.returncode == 0, report.stderr
    (told,) = json.loads(report.stdout)["studies"]
    assert (told["kind"], told["complete"]) == ("pareto", True)
