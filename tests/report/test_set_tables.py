"""What the page shows of several data sets: their rows, and how much training has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from report_page import page

from polytask.report.cells import NOTHING
from polytask.report.results import read
from polytask.report.set_tables import set_tables
from polytask.report.words import facts

Study = dict[str, Any]


@pytest.fixture
def corpora(make: Callable[..., Study]) -> Study:
    """Two data sets, two schedules of two candidates each."""
    study = make(("pos", "gender"), ("linear", "pcgrad", "linear · b", "pcgrad · b"), epochs=3)
    study["dataset"]["sets"] = [
        {"name": "pos", "data": "large.csv", "tasks": ["pos"], "batch_size": 32,
         "labels": {"pos": 1000},
         "rows": {"train": 1000, "val": 200, "test": 200}},
        {"name": "gender", "data": "small.csv", "tasks": ["gender"], "batch_size": 16,
         "labels": {"gender": 20},
         "rows": {"train": 40, "val": 8, "test": 8}},
    ]  # fmt: skip
    for task, seen in (("pos", 3000.0), ("gender", 1600.0)):
        study["single_task"][task]["examples"] = {task: seen}
    for i, candidate in enumerate(study["candidates"]):
        candidate["schedule"] = "b" if candidate["label"].endswith("b") else "a"
        candidate["examples"] = {"pos": 3000.0 - i, "gender": 60.0 + i}
    return study


def test_rows_and_labels_seen(corpora: Study) -> None:
    held, seen = set_tables(read(corpora))
    assert [row.label for row in held.rows] == ["pos", "gender"]
    assert held.rows[0].cells[0].text == "large.csv"
    assert [cell.value for cell in held.rows[0].cells[1:]] == [1000, 200, 200, 32]
    assert seen.rows[0].label == "single-task"
    assert [row.label for row in seen.rows[1:]] == ["a", "b"]
    alone = seen.rows[0].cells
    assert [(cell.value, cell.small) for cell in alone] == [
        (3000.0, "each 3.0 times"),
        (1600.0, "each 80.0 times"),  # of the 20 that have a label
    ]
    by = {row.label: [cell.value for cell in row.cells] for row in seen.rows}
    assert by["a"] == [2999.5, 60.5]  # the mean of its two candidates
    assert by["b"] == [2997.5, 62.5]


def test_the_page_has_a_section_and_says_how_separate_networks_train(corpora: Study) -> None:
    shown = page(corpora)
    assert "Data sets of their own" in shown.text
    assert "takes as many steps in all as a network that shares" in shown.text
    assert facts(read(corpora))[0] == "2 data sets (pos, gender)"


def test_one_data_set_has_no_such_section(make: Callable[..., Study]) -> None:
    study = make(("price", "sold"), epochs=3)
    assert set_tables(read(study)) == []
    assert "Data sets of their own" not in page(study).text


def test_an_incomplete_study_leaves_holes(corpora: Study) -> None:
    del corpora["single_task"]["gender"]["examples"]
    for candidate in corpora["candidates"]:
        del candidate["examples"]
    _, seen = set_tables(read(corpora))
    assert [row.label for row in seen.rows] == ["single-task"]
    assert seen.rows[0].cells[1] is NOTHING
