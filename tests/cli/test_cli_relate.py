"""`polytask relate`: its words, its errors, and from a CSV to groups that were checked."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polytask import registry
from polytask.cli._config import gather
from polytask.cli.relate import check_groups, relate
from polytask.relationships import Affinity
from polytask.study import relate as study
from polytask.study.settings import TRAINER_OPTIONS


def words(function) -> set[str]:
    kinds = inspect.signature(function).parameters.values()
    return {p.name for p in kinds if p.kind is not p.VAR_KEYWORD}


def test_the_flags_are_the_words_of_the_function() -> None:
    theirs = words(study) - {"on_data", "on_notes", "command"}
    assert words(relate) - {"config", "json", "plugins"} == theirs | set(TRAINER_OPTIONS)


def test_the_help_tells_the_true_defaults(polytask) -> None:
    said = " ".join(polytask("relate", "--help").out.split())
    defaults = {name: p.default for name, p in inspect.signature(study).parameters.items()}
    for word, default in (
        ("randoms", 3), ("seeds", 5), ("epochs", 20), ("batch_size", 256),
        ("alone", "auto"), ("budget_in", "networks"),
    ):  # fmt: skip
        assert defaults[word] == default
        flag = word.replace("_", "-")
        assert re.search(rf"--{flag} .*?\[default: {default}\]", said), word
    assert (defaults["max_groups"], defaults["budget"]) == (None, None)
    assert "[default: 3, or the budget]" in said
    assert (defaults["check"], "--check --no-check" in said) == (True, True)
    assert list(defaults["estimators"]) == ["lookahead"]
    assert "[default: lookahead]" in said
    assert "[default: 3e-4 1e-3 3e-3]" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--max-groups 2", "which data?"),
        ("--data yeast --max-groups 0", "--max-groups should be a whole number of at least 1"),
        ("--data yeast --max-groups 2.5", "should be a whole number"),
        ("--data yeast --randoms -1", "--randoms should be a whole number of at least 0"),
        ("--data yeast --estimators lokahead", "did you mean 'lookahead'"),
        ("--data yeast --estimators lookahead:ordr=exact", "did you mean 'order'"),
        ("--data yeast --estimators lookahead:order=second", "order"),
        ("--data yeast --estimators lookahead lookahead", "given twice"),
        ("--data yeast --budget 0.5", "--budget should be at least 1"),
        ("--data yeast --budget 2 --budget-in parameter", "did you mean 'parameters'"),
        ("--data yeast --budget-in latency", "there is none"),
        ("--data yeast --alone maybe", "--alone should be a number, never or auto"),
        ("--data yeast --alone true", "--alone should be a number, never or auto"),
        ("--data yeast --branches rsaa", "did you mean 'rsa'"),
        ("--data yeast --branches lookahead", "branches"),
        ("--data yeast --affinity nowhere.json", "nowhere.json"),
        ("--data yeast --affinity a.json --estimators rsa", "nothing is left to measure"),
        ("--data yeast --methods linear", "did you mean --method"),
        ("--data yaest", "did you mean 'yeast'"),
    ],
)
def test_wrong_words_are_two_lines_and_exit_code_2(polytask, line: str, said: str) -> None:
    done = polytask("relate", *line.split())
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 2
    assert "polytask relate --help" in done.err


def test_one_target_is_too_few(polytask, patients: Path, here: Path) -> None:
    done = polytask("relate", "--data", patients, "--targets", "progression", "--drop", "id")
    assert done.code == 2
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("branches: true", True), ("branches: cka", "cka"), ("check: false", None), ("", None)],
)
def test_a_file_of_settings_has_the_same_words(here: Path, line: str, wanted: object) -> None:
    file = here / "groups.yaml"
    file.write_text(
        "data: adult\nestimators: [lookahead, {rsa: {rows: 100}}]\nalone: 0.5\n"
        "budget: 2.5\nbudget_in: latency\n" + line + "\n"
    )
    settings = check_groups(gather(relate, file, {"max_groups": 2}))
    assert (settings["budget"], settings["budget_in"]) == (2.5, "latency")
    assert (settings["max_groups"], settings["alone"]) == (2, 0.5)
    assert settings["estimators"] == ["lookahead", {"rsa": {"rows": 100}}]
    assert settings.get("branches") == wanted
    assert settings.get("check", True) is ("check" not in line)


def test_unknown_keys_suggest(polytask, here: Path) -> None:
    (here / "groups.yaml").write_text("data: yeast\nmax_group: 3\n")
    assert "did you mean 'max_groups'" in polytask("relate", "groups.yaml").err


def test_estimators_are_listed_with_what_they_need(polytask) -> None:
    rows = json.loads(polytask("list", "estimators", "--json").out)
    assert [row["name"] for row in rows] == registry.names("estimator")
    found = {row["name"]: row for row in rows}
    assert found["lookahead"]["needs"] == "one training of all tasks"
    assert "order" in found["lookahead"]["arguments"]
    assert (found["lookahead"]["gains"], found["rsa"]["gains"]) == (True, False)
    assert all(row["needs"] and row["unit"] and row["summary"] for row in rows)
    table = polytask("list", "estimators").out
    assert all(name in table for name in found)
    assert "options: order=" in polytask("list", "estimators", "lookahead").out


@pytest.mark.slow
def test_from_csv_to_groups_that_were_checked(patients: Path, tmp_path: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "polytask", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=600,
            env={"COLUMNS": "80", "PATH": ""},
        )

    out = tmp_path / "groups"
    words = ["--data", patients, "--targets", "progression:regression", "high:binary"]
    words += ["bmi:regression", "--drop", "id", "--max-groups", 2, "--randoms", 1]
    words += [
        "--seeds",
        2,
        "--epochs",
        2,
        "--batch-size",
        16,
        "--lr",
        "1e-2",
        "--workers",
        2,
        "--out",
        out,
    ]

    plan = run("relate", *words, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "Nothing has been trained." in " ".join(plan.stdout.split())
    assert not out.exists()

    first = run("relate", *words)
    assert first.returncode == 0, first.stderr
    told = [
        first.stdout.index(text)
        for text in ("442 rows", "Recommended networks", "Arrangements: ", "report: ")
    ]
    assert told == sorted(told)
    assert max(map(len, first.stdout.splitlines()[:-1])) <= 80

    page = (out / "report.html").read_text(encoding="utf-8")
    written = run("report", out)
    assert written.returncode == 0, written.stderr
    assert (out / "report.html").read_text(encoding="utf-8") == page
    facts = json.loads(run("report", out, "--json").stdout)["studies"][0]
    assert (facts["kind"], facts["estimator"], facts["complete"]) == ("relate", "lookahead", True)
    served = [task for group in facts["recommended"] for task in group["serves"]]
    assert sorted(served) == ["bmi", "high", "progression"]
    both = run("report", out, out)
    assert (both.returncode, "a study of task relationships" in both.stderr) == (2, True)

    # The resolved settings are a study of their own, and nothing is trained again.
    before = {file: file.stat().st_mtime_ns for file in out.glob("runs/*/result.json")}
    again = run("relate", out / "study.yaml", "--json")
    assert again.returncode == 0, again.stderr
    results = json.loads(again.stdout)
    assert (results["kind"], results["complete"]) == ("relate", True)
    assert before == {file: file.stat().st_mtime_ns for file in out.glob("runs/*/result.json")}

    # What was measured, or anything like it, can be given instead.
    given = Affinity.load(out / "affinities" / "lookahead.json")
    assert set(given.tasks) == set(served)
    words[-1] = tmp_path / "given"
    own = run("relate", *words, "--affinity", out / "affinities" / "lookahead.json", "--no-check",
              "--alone", "never", "--json")  # fmt: skip
    assert own.returncode == 0, own.stderr
    results = json.loads(own.stdout)
    assert (results["check"], results["alone"]) == (None, None)
    assert all(len(group["tasks"]) > 1 for group in results["recommendation"]["groups"])
