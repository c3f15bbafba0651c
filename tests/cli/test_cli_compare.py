"""`polytask compare` from a CSV with missing labels to a verdict and a report."""

import html
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow


def polytask(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "polytask", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_from_csv_to_verdict(patients: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    words = ["--data", patients, "--targets", "progression:regression", "high:binary"]
    words += ["--drop", "id", "--methods", "linear", "mgda:scale=sum", "--seeds", 2]
    words += ["--epochs", 2, "--lr", "1e-3", "--workers", 2, "--out", out]

    plan = polytask("compare", *words, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "Nothing has been trained" in plan.stdout
    assert "hard_sharing-mgda" in plan.stdout
    assert not out.exists()

    first = polytask("compare", *words)
    assert first.returncode == 0, first.stderr
    told = [
        first.stdout.index(text)
        for text in ("442 rows", "target high: binary", "leans", "candidate", "report: ")
    ]
    assert told == sorted(told)
    page = (out / "report.html").read_text(encoding="utf-8")
    given = shlex.join(["polytask", "compare", *map(str, words)])
    assert json.loads((out / "results.json").read_text())["command"] == given
    assert html.escape(given, quote=False).replace("'", "&#39;") in page
    written = polytask("report", out)
    assert written.returncode == 0, written.stderr
    assert (out / "report.html").read_text(encoding="utf-8") == page

    # The resolved settings it wrote are a study of their own, and nothing is trained again.
    before = {file: file.stat().st_mtime_ns for file in out.glob("runs/*/result.json")}
    again = polytask("compare", out / "study.yaml", "--json")
    assert again.returncode == 0, again.stderr
    results = json.loads(again.stdout)
    assert results["complete"] is True
    assert results["report"] == str(out / "report.html")
    assert {row["method"] for row in results["candidates"]} == {"linear", "rlw", "mgda"}
    assert before == {file: file.stat().st_mtime_ns for file in out.glob("runs/*/result.json")}

    # The folder of a study is not the place for a model, nor for a study of other data.
    model = polytask("train", *words[:5], "--out", out)
    assert (model.returncode, "holds other files" in model.stderr) == (2, True)
    other = polytask("compare", *words[:4], "bmi:regression", "--out", out)
    assert (other.returncode, "study of other data" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    "verb", [["compare"], ["pareto"], ["relate"], ["auxiliary", "--main", "progression"]]
)
def test_what_the_splits_leave_out_is_told_once_before_training(
    verb: list[str], patients: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(patients)
    table["high"] = table.high.where(table.index < 300)
    table.assign(visit=table.index).to_csv(tmp_path / "early.csv", index=False)
    words = ["--data", tmp_path / "early.csv", "--targets", "progression:regression", "high:binary"]
    words += ["--drop", "id", "--split", "time:visit", "--encoder", "mlp:hidden=[8]", "--seeds", 2]
    ran = polytask(*verb, *words, "--dry-run", "--out", tmp_path / "study")
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    for part in ("val", "test"):
        assert lines.count(f"note: target high: no label among the 66 {part} rows") == 1
    assert ran.stdout.index("no label among") < ran.stdout.index("Nothing has been trained")
