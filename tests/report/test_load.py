"""What a path is, if it is no study, and the way on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polytask.errors import UserError
from polytask.report.load import load, locate
from polytask.report.results import read


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    return str(caught.value)


def test_a_folder_means_its_results(tmp_path: Path) -> None:
    assert locate(tmp_path) == tmp_path / "results.json"
    assert locate(tmp_path / "a.json") == tmp_path / "a.json"


def test_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("run `polytask compare` first.")


def test_a_missing_path_is_told_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "adult").mkdir()
    assert f"did you mean {str(tmp_path / 'adult')!r}?" in refusal(tmp_path / "adlut")


def test_a_folder_of_studies_names_them(tmp_path: Path) -> None:
    for name in ("digits", "my adult"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text("{}")
    said = refusal(tmp_path)
    assert "is no study, but holds 2" in said
    assert f"polytask report {tmp_path}/digits '{tmp_path}/my adult'" in said


@pytest.mark.parametrize("name", ["polytask.json", "metrics.jsonl"])
def test_a_trained_model_is_no_study(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert "found a trained model" in refusal(tmp_path)


def test_a_run_of_a_study_points_to_the_study(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "linear-s0"
    run.mkdir(parents=True)
    (run / "unit.json").touch()
    (run / "metrics.jsonl").touch()
    assert refusal(run).endswith(f"polytask report {tmp_path}")


def test_a_study_that_has_just_begun_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").touch()
    assert f"`polytask compare {tmp_path}/study.yaml` goes on" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"<html>"])
def test_damaged_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.json").write_bytes(content)
    assert "expected JSON" in refusal(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"tasks": []}, {"candidates": {}}, {"single_task": None}, {"schema": 2}, {"schema": "1"}],
)
def test_results_of_another_shape_name_their_file(tmp_path: Path, change: object) -> None:
    raw = {"schema": 1, "tasks": {}, "single_task": {}, "candidates": []}
    file = tmp_path / "results.json"
    file.write_text(json.dumps(raw | change))  # type: ignore[operator]
    with pytest.raises(UserError, match=r"expected .*results\.json"):
        read(tmp_path)
