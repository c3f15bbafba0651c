"""`polytask report`: one page of one study or of several, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Polytask = Callable[..., Any]


def results(name: str, gains: dict[str, float]) -> dict[str, Any]:
    """What a study of one task may hold at the least."""
    return {
        "schema": 1,
        "name": name,
        "tasks": {"price": {"kind": "regression", "metric": "rmse", "direction": "min"}},
        "single_task": {"price": {"test": [1.0, 1.2], "mean": 1.1, "sd": 0.1}},
        "candidates": [
            {
                "id": f"hard_sharing-{method}",
                "label": method,
                "architecture": "hard_sharing",
                "method": method,
                "baseline": method == "linear",
                "tasks": {"price": {"test": [1.0, 1.1], "mean": 1.05, "sd": 0.1}},
                "delta_m": {"mean": gain, "low": gain - 1, "high": gain + 1},
            }
            for method, gain in gains.items()
        ],
        "chosen": "hard_sharing-linear",
        "verdict": {
            "sentence": f"No evidence in {name}.",
            "tasks": {"price": {"word": "no evidence", "sentence": "price: no evidence."}},
        },
        "seeds": [0, 1],
        "complete": True,
    }


@pytest.fixture
def studies(here: Path) -> Path:
    """Two studies in `runs` of the working directory."""
    for name, gains in (("adult", {"linear": 1.0, "mgda": 2.0}), ("digits", {"linear": 3.0})):
        folder = here / "runs" / name
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps(results(name, gains)))
    return here


def test_one_study_is_written_into_its_folder(polytask: Polytask, studies: Path) -> None:
    done = polytask("report", "runs/adult")
    assert (done.code, done.err) == (0, "")
    page = studies / "runs" / "adult" / "report.html"
    assert f"report: {page.relative_to(studies)}" in done.out
    assert "No evidence in adult." in done.out
    assert "No evidence in adult." in page.read_text(encoding="utf-8")
    before = page.read_bytes()
    assert polytask("report", "runs/adult/results.json").code == 0
    assert page.read_bytes() == before


def test_several_make_one_page(polytask: Polytask, studies: Path) -> None:
    assert polytask("report", "runs/adult", "runs/digits").code == 0
    text = (studies / "studies.html").read_text(encoding="utf-8")
    assert text.count('<details class="study"') == 2
    done = polytask("report", "runs/adult", "runs/digits", "--out", "sub/all.html")
    assert done.out.endswith("report: sub/all.html\n")
    assert (studies / "sub" / "all.html").read_text(encoding="utf-8") == text
    assert not list((studies / "runs").glob("*/*.html"))


def test_json_is_one_document_with_the_numbers(polytask: Polytask, studies: Path) -> None:
    done = polytask("report", "runs/adult", "runs/digits", "--json")
    told = json.loads(done.out)
    assert told["report"] == "studies.html"
    assert [study["label"] for study in told["studies"]] == ["adult", "digits"]
    linear, mgda = told["methods"]
    assert (linear["label"], linear["mean"]) == ("linear", 2.0)
    assert mgda["delta_m"] == [{"mean": 2.0, "low": 1.0, "high": 3.0}, None]
    assert (mgda["mean"], mgda["mean_rank"], told["rank_test"]) == (None, None, None)
    one = json.loads(polytask("report", "runs/adult", "--json").out)
    assert set(one) == {"report", "studies"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which studies?"),
        (["runs/adlut"], "did you mean 'runs/adult'?"),
        (["runs"], "name them: polytask report runs/adult runs/digits"),
        (["runs/adult", "runs/digits", "runs/adult/"], "given twice"),
        (["runs/adult", "runs/adult/results.json"], "given twice"),
        (["empty"], "run `polytask compare` first"),
        (["model"], "found a trained model in 'model'"),
        (["damaged"], "expected JSON in 'damaged/results.json'"),
        (["other"], "found schema 7 in 'other/results.json'"),
        (["runs/adult", "--out", "runs/adult/results.json"], "expected a file that ends in .html"),
    ],
)
def test_what_cannot_be_reported(
    polytask: Polytask, studies: Path, words: list[str], said: str
) -> None:
    for name in ("empty", "model", "damaged", "other"):
        (studies / name).mkdir()
    (studies / "model" / "polytask.json").write_text("{}")
    (studies / "damaged" / "results.json").write_text('{"schema": 1, "tasks"')
    (studies / "other" / "results.json").write_text('{"schema": 7}')
    before = sorted(studies.rglob("*"))
    done = polytask("report", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 2
    assert sorted(studies.rglob("*")) == before


def test_it_needs_no_torch(studies: Path) -> None:
    script = (
        "import sys; from polytask.cli import run; code = run(['report', 'runs/adult']); "
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=studies,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
