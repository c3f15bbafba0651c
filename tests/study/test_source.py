"""Which tasks of a data set a study keeps, and what it is told of the data."""

import pandas as pd
import pytest
from study_simulation import TARGETS

from polytask.data import Dataset, load_dataset, table_dataset
from polytask.errors import UserError
from polytask.study import compare
from polytask.study.source import keep_tasks


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def test_tasks_are_kept_by_name_kind_and_role(digits: Dataset) -> None:
    kept = keep_tasks(digits, ["size", "digit:multiclass", "parity:auxiliary"])
    assert list(kept.tasks) == list(kept.targets) == ["size", "digit", "parity"]
    assert [task.role for task in kept.tasks.values()] == ["main", "main", "auxiliary"]
    assert keep_tasks(digits, {"digit": {"role": "auxiliary"}}).tasks["digit"].role == "auxiliary"
    assert keep_tasks(digits, None) is digits


def test_another_kind_is_refused(digits: Dataset) -> None:
    with pytest.raises(UserError, match="digit of digits is multiclass, found 'regression'"):
        keep_tasks(digits, ["digit:regression"])
    with pytest.raises(UserError, match="unknown task of digits: 'digt'; did you mean 'digit'"):
        keep_tasks(digits, ["digt:multiclass"])
    with pytest.raises(UserError, match="given twice"):
        keep_tasks(digits, ["digit", "digit:multiclass"])


def test_a_colon_in_a_name_is_part_of_it(patients: pd.DataFrame) -> None:
    frame = patients.rename(columns={"high": "high:140"})
    data = table_dataset(frame, ["progression", "high:140"])
    assert list(keep_tasks(data, ["high:140"]).tasks) == ["high:140"]
    assert list(keep_tasks(data, ["high:140:binary"]).tasks) == ["high:140"]


def test_the_data_are_shown_before_they_are_checked(patients: pd.DataFrame) -> None:
    seen: list[Dataset] = []
    with pytest.raises(UserError, match="no-such"):
        compare(
            patients, targets=TARGETS, split="stratified:no-such-column", on_data=seen.append,
            encoder={"mlp": {"hidden": [8]}}, dry_run=True,
        )  # fmt: skip
    assert list(seen[0].tasks) == ["progression", "high"]
    assert any("progression" in note for note in seen[0].notes)


@pytest.mark.slow
def test_what_the_splits_leave_out_is_told_once_before_training(patients: pd.DataFrame) -> None:
    order = patients.assign(visit=range(len(patients)))
    order["high"] = order.high.where(order.visit < 300)
    seen: list[Dataset] = []
    told: list[list[str]] = []
    compare(
        order, targets=TARGETS, split="time:visit", seeds=2, on_data=seen.append,
        on_notes=told.append, encoder={"mlp": {"hidden": [8]}}, methods="linear", dry_run=True,
    )  # fmt: skip
    (notes,) = told
    assert [note for note in notes if note.startswith("target high: no label among the")]
    assert not set(notes) & set(seen[0].notes)
