"""Reading results: order, styles, and errors a user can act on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polytask.errors import UserError
from polytask.report.numbers import number
from polytask.report.results import read

Study = dict[str, Any]


def test_a_dict_a_file_and_its_folder_read_the_same(study: Study, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(study), encoding="utf-8")
    assert read(study).raw == read(file).raw == read(str(tmp_path)).raw


def test_candidates_are_ordered_by_gain_with_the_undefined_last(any_study: Study) -> None:
    means = [number(candidate.delta_m[0]) for candidate in read(any_study).candidates]
    known = [mean for mean in means if mean is not None]
    assert means[: len(known)] == sorted(known, reverse=True)


def test_no_two_candidates_look_alike(make: Callable[..., Study]) -> None:
    methods = tuple(f"method{i}" for i in range(25))
    styles = [candidate.style for candidate in read(make(methods=methods, epochs=3)).candidates]
    assert len(set(styles)) == len(styles)


def test_labels_name_the_architecture_when_there_are_several(make: Callable[..., Study]) -> None:
    """With equal weights an architecture stands for itself: six of them read as six names."""
    names = ("hard_sharing", "mmoe", "ple", "cross_stitch", "mtan", "adapters")
    study = make(methods=("linear",) * len(names))
    for candidate, name in zip(study["candidates"], names, strict=True):
        candidate |= {"architecture": name, "id": f"{name}-linear"}
    assert {candidate.label for candidate in read(study).candidates} == set(names)
    study["candidates"][1]["label"] = "rlw"
    labels = {candidate.label for candidate in read(study).candidates}
    assert {"hard_sharing", "mmoe · rlw", "ple"} <= labels


def test_the_choice_is_the_one_of_the_file(study: Study) -> None:
    chosen = read(study).chosen
    assert chosen is not None
    assert chosen.id == study["chosen"]
    study["chosen"] = None
    assert read(study).chosen is None


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run `polytask compare` first"):
        read(tmp_path / "nothing.json")


@pytest.mark.parametrize("text", ["{", "[1, 2]", '"text"', ""])
def test_a_file_that_is_no_json_object(tmp_path: Path, text: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"expected .*JSON"):
        read(file)


def test_results_of_something_else(study: Study) -> None:
    with pytest.raises(UserError, match="no 'single_task'"):
        read({"tasks": {}, "candidates": []})
    study["schema"] = 2
    with pytest.raises(UserError, match="found schema 2"):
        read(study)
