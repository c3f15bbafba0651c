"""Tables whose target cells are mostly empty: kinds, counts, and notes that do not overstate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask.data import make_splits, read_table, table_dataset
from polytask.data.gaps import gaps
from polytask.errors import UserError
from polytask.tasks import Task

CLASSES = {"digit": "multiclass", "parity": "binary", "size": "binary"}


@pytest.fixture(scope="module")
def digits() -> pd.DataFrame:
    """The digits as a table of a few grey values, with the tasks of the registered set."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    frame = pd.DataFrame(bundle.data[:, 18:26], columns=[f"p{i}" for i in range(18, 26)])
    digit = bundle.target
    return frame.assign(digit=digit, parity=digit % 2, size=np.where(digit < 5, "small", "large"))


def emptied(frame: pd.DataFrame, share: float, folder: Path) -> pd.DataFrame:
    """The table as a file brings it when that share of its target cells is empty."""
    rng = np.random.default_rng(0)
    holes = {name: frame[name].where(rng.random(len(frame)) >= share) for name in CLASSES}
    frame.assign(**holes).to_csv(folder / "t.csv", index=False)
    return read_table(folder / "t.csv")


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_kinds_codes_and_counts_are_those_of_the_labels_there(
    digits: pd.DataFrame, share: float, tmp_path: Path
) -> None:
    frame = emptied(digits, share, tmp_path)
    data = table_dataset(frame, list(CLASSES))
    assert {name: task.kind for name, task in data.tasks.items()} == CLASSES
    assert data.tasks["digit"].classes == tuple(range(10))
    there = {name: frame[name].notna().to_numpy() for name in CLASSES}
    assert data.labelled() == {name: int(mask.sum()) for name, mask in there.items()}
    for name in ("digit", "parity"):
        codes = data.targets[name]
        np.testing.assert_array_equal(codes[there[name]], digits[name][there[name]])
        assert (codes[~there[name]] == -100).all()
    for name, mask in there.items():
        said = [note for note in data.notes if note.startswith(f"target {name}:")]
        assert any(f"{mask.sum()} of {len(frame)} rows labelled" in note for note in said)


def test_agreement_of_targets_is_told_with_the_rows_it_was_seen_in(digits: pd.DataFrame) -> None:
    odd = digits["parity"].map({0: "no", 1: "yes"})
    rows = np.arange(len(digits))
    frame = digits.drop(columns="size").assign(
        parity=digits["parity"].where(rows < 100), odd=odd.where(rows >= 60)
    )
    notes = table_dataset(frame, ["parity", "odd"]).notes
    assert "targets parity and odd say the same in all 40 rows that have both" in notes
    full = table_dataset(digits.assign(odd=odd), ["parity", "odd"]).notes
    assert "targets parity and odd say the same in every row" in full


def test_an_input_that_copies_a_sparse_target_is_told_with_its_rows(digits: pd.DataFrame) -> None:
    frame = digits.assign(copy=2.0 * digits["p20"] + 1, p20=digits["p20"].where(digits.index < 50))
    (note,) = [n for n in table_dataset(frame, ["p20:regression", "digit"]).notes if "copy" in n]
    assert note.startswith("copy: says the same as the target p20 in all 50 rows that have both;")


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_without_a_label_is_named(digits: pd.DataFrame, part: str) -> None:
    frame = digits.assign(t=np.arange(len(digits)))
    full = table_dataset(frame, ["digit", "p20:regression"], time="t")
    rows = make_splits(full, split="time")[part]
    frame.loc[rows, "p20"] = np.nan
    data = table_dataset(frame, ["digit", "p20:regression"], time="t")
    splits = make_splits(data, split="time")
    assert f"target p20: no label among the {len(rows)} {part} rows" in gaps(data, splits)


def test_training_rows_without_a_label_say_what_may_be_done() -> None:
    with pytest.raises(UserError, match="drop the task, split the rows otherwise, or check"):
        Task("t", "regression").fitted(np.full(5, np.nan, np.float32))
