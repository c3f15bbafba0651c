"""Rows that come later: prediction tables and the user's own test file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask.data import read_table, table_dataset, transform_frame, with_test_file
from polytask.data._labels import places
from polytask.errors import UserError


def people(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n).astype(float),
            "job": rng.choice(["cook", "nurse"], n),
            "since": pd.date_range("2001-02-03", periods=n).astype(str),
            "score": ["?", *map(str, rng.normal(size=n - 1))],
            "member": rng.random(n) < 0.5,
            "income": rng.normal(size=n),
            "happy": rng.choice(["yes", "no"], n),
        }
    )


TARGETS = ["income:regression", "happy:binary"]


def test_the_same_rows_give_the_same_inputs_in_any_column_order() -> None:
    frame = people()
    data = table_dataset(frame, TARGETS)
    shuffled = frame.drop(columns=["income"]).assign(more=1)[::-1]
    shuffled = shuffled[sorted(shuffled.columns)]
    inputs = transform_frame(shuffled, data.columns)
    for name, expected in data.inputs.items():
        np.testing.assert_array_equal(inputs[name], expected[::-1])


def test_a_saved_csv_gives_the_same_inputs(wine: pd.DataFrame, tmp_path: Path) -> None:
    data = table_dataset(wine, ["cultivar"])
    wine.to_csv(tmp_path / "w.csv", index=False)
    inputs = transform_frame(read_table(tmp_path / "w.csv"), data.columns)
    np.testing.assert_array_equal(inputs["numeric"], data.inputs["numeric"])


def test_codes_with_leading_zeros_survive_a_second_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("code,flag,y,c\n" + "01,TRUE,1.5,007\nA2,no,2.5,x\n" * 5)
    second.write_text("code,flag,y,c\n01,TRUE,1.5,007\n")
    frame, row = read_table(first), read_table(second, at_least=1)
    assert row["code"].tolist() == [1]
    data = with_test_file(frame, row, ["y:regression", "c"])
    np.testing.assert_array_equal(data.inputs["categorical"][10], data.inputs["categorical"][0])
    assert data.targets["c"][[0, 10]].tolist() == [0, 0]
    # Never at the price of a label that is written just so, or of a guess.
    assert places(["01", "1"])["1"] == 1
    assert "1" not in places(["01", "001"])


def test_unseen_categories_and_single_rows() -> None:
    data = table_dataset(people(), TARGETS)
    row = {"age": 30, "job": "pilot", "since": "2001-02-05", "score": "?", "member": True}
    inputs = transform_frame(pd.DataFrame([row]), data.columns)
    assert inputs["categorical"].tolist() == [[-1]]
    by_name = dict(zip(data.columns["numeric"], inputs["numeric"][0], strict=True))
    assert by_name["since"] == 2
    assert by_name["age"] == 30
    assert by_name["member"] == 1
    assert np.isnan(by_name["score"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": None}, r"the table lacks 'age'.* Known|lacks"),
        ({"age": "old"}, "column 'age' holds 'old'; expected numbers"),
        ({"since": "yesterday"}, "column 'since' held dates before"),
        ({"score": "many"}, "column 'score' holds 'many'; expected numbers"),
    ],
)
def test_rows_of_another_kind_are_refused(change: dict[str, object], message: str) -> None:
    data = table_dataset(people(), TARGETS)
    frame = people(5)
    for column, value in change.items():
        frame = frame.drop(columns=column) if value is None else frame.assign(**{column: value})
    with pytest.raises(UserError, match=message):
        transform_frame(frame, data.columns)


def test_own_test_file_is_the_fixed_test_part() -> None:
    frame = people()
    train, test = frame.head(30), frame.tail(10).assign(job="pilot", extra=1)
    data = with_test_file(train, test[sorted(test.columns)], TARGETS, time="since")
    alone = table_dataset(train, TARGETS, time="since")
    assert data.fixed_split is not None
    np.testing.assert_array_equal(data.fixed_split["test"], np.arange(30, 40))
    for name, expected in alone.inputs.items():
        np.testing.assert_array_equal(data.inputs[name][:30], expected)
    assert (data.inputs["categorical"][30:] == -1).all()
    np.testing.assert_allclose(data.targets["income"], frame["income"], rtol=1e-6)
    assert data.times is not None
    assert (np.diff(data.times) > 0).all()
    notes = "\n".join(data.notes)
    assert "job: 10 test rows have categories not seen in training" in notes
    assert "columns not in the training table: extra" in notes


def test_own_test_file_must_fit() -> None:
    frame = people()
    train, test = frame.head(30), frame.tail(10)
    for bad, message in (
        (test.drop(columns=["job", "happy"]), "the test table lacks 'job', 'happy'"),
        (test.assign(happy="perhaps"), "holds the label 'perhaps', which is not among"),
        (test.assign(income=np.nan), "'income' has no labels in the test table"),
        (test.assign(age="old"), "column 'age' holds 'old'"),
    ):
        with pytest.raises(UserError, match=message):
            with_test_file(train, bad, TARGETS)


def test_rows_in_both_files_are_counted() -> None:
    frame = people()
    data = with_test_file(frame.head(30), frame.iloc[[0, 5, 35]], TARGETS)
    assert "test table: 2 of 3 rows are in the training table too" in data.notes
