"""The data set object, and its two files on disk."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask.data import Dataset, load_dataset, table_dataset
from polytask.errors import UserError
from polytask.files import atomic
from polytask.tasks import Task


def table(diabetes: pd.DataFrame) -> Dataset:
    frame = diabetes.assign(when=pd.date_range("2020", periods=len(diabetes)))
    frame["clinic"] = frame.index % 7
    data = table_dataset(
        frame, ["progression", "sex:binary"], group="clinic", time="when", name="diabetes"
    )
    data.fixed_split = {"train": np.arange(400), "test": np.arange(400, data.n)}
    return data


def assert_same(one: Dataset, two: Dataset) -> None:
    assert one.name == two.name
    assert list(one.tasks.items()) == list(two.tasks.items())
    assert one.columns == two.columns
    assert one.notes == two.notes
    for field in ("inputs", "targets", "fixed_split"):
        a, b = getattr(one, field) or {}, getattr(two, field) or {}
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
            assert a[name].dtype == b[name].dtype
    for field in ("groups", "times", "coordinates", "stratify_on"):
        a, b = getattr(one, field), getattr(two, field)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


def test_saved_and_loaded_are_equal(tmp_path: Path, diabetes: pd.DataFrame) -> None:
    for data in (table(diabetes), load_dataset("digits")):
        data.save(tmp_path / "saved")
        loaded = Dataset.load(tmp_path / "saved")
        assert_same(loaded, data)
        arrays = [*loaded.inputs.values(), *loaded.targets.values()]
        assert all(array.flags.writeable for array in arrays)
    # The second took the place of the first: no leftovers, nothing pickled.
    files = sorted(file.name for file in (tmp_path / "saved").iterdir())
    assert len(files) == 2
    assert files[0].endswith(".safetensors")
    assert files[1] == "dataset.json"


def test_a_cut_off_save_leaves_the_old_data_set(
    tmp_path: Path, diabetes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = table(diabetes)
    old.save(tmp_path)
    real = os.replace

    def interrupted(source: str, target: str) -> None:
        if str(target).endswith("dataset.json"):
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        old.subset(np.arange(10)).save(tmp_path)
    monkeypatch.undo()
    assert_same(Dataset.load(tmp_path), old)


def test_a_failed_write_keeps_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(TypeError), atomic(path) as stream:
        stream.writelines([b"new", "text in a binary file"])  # type: ignore[list-item]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_folders_say_so(tmp_path: Path, diabetes: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"no saved data set in .*expected the file dataset\.json"):
        Dataset.load(tmp_path)
    table(diabetes).save(tmp_path)
    arrays = next(tmp_path.glob("*.safetensors"))
    content = arrays.read_bytes()
    arrays.write_bytes(content[:-10])
    with pytest.raises(UserError, match=rf"expected {len(content)} bytes .*, found"):
        Dataset.load(tmp_path)
    arrays.write_bytes(b"\xff" * len(content))
    with pytest.raises(UserError, match="is damaged"):
        Dataset.load(tmp_path)
    arrays.unlink()
    with pytest.raises(UserError, match="found nothing"):
        Dataset.load(tmp_path)
    index = tmp_path / "dataset.json"
    index.write_text(json.dumps({"format": 99}))
    with pytest.raises(UserError, match="has format 99; this version reads format 1"):
        Dataset.load(tmp_path)
    index.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        Dataset.load(tmp_path)


def test_a_loss_of_ones_own_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    task = Task("y", "regression", loss_function=lambda output, target: (output - target) ** 4)
    data = Dataset("t", {"numeric": np.eye(3)}, {"y": np.arange(3)}, {"y": task})
    with pytest.raises(UserError, match="loss_function"):
        data.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_subset_follows_rows_everywhere(diabetes: pd.DataFrame) -> None:
    data = table(diabetes)
    rows = np.asarray([410, 3, 441, 0])
    part = data.subset(rows)
    assert part.n == 4
    np.testing.assert_array_equal(part.inputs["numeric"], data.inputs["numeric"][rows])
    np.testing.assert_array_equal(part.targets["sex"], data.targets["sex"][rows])
    assert data.times is not None
    assert part.times is not None
    np.testing.assert_array_equal(part.times, data.times[rows])
    assert part.fixed_split is not None
    np.testing.assert_array_equal(part.fixed_split["test"], [0, 2])
    np.testing.assert_array_equal(part.fixed_split["train"], [1, 3])
    mask = np.zeros(data.n, bool)
    mask[rows] = True
    assert data.subset(mask).n == 4


TASK = {"y": Task("y", "binary", classes=("a", "b"))}
X = {"numeric": np.eye(3)}


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "message"),
    [
        ({}, {"y": [0, 1, 0]}, {}, "has no inputs"),
        (X, {}, {}, "has no targets"),
        (X, {"z": [0, 1, 0]}, {}, r"targets are \['z'\] but tasks are \['y'\]"),
        (X, {"y": [0, 1]}, {}, "target 'y' has 2 rows, expected 3"),
        (X, {"y": [0.0, 1.0, np.nan]}, {}, "expected whole-number class codes"),
        (X, {"y": [0, 1, 2]}, {}, r"holds class codes 0\.\.2; expected 0\.\.1"),
        (X, {"y": [0, 1, -1]}, {}, r"holds class codes -1\.\.1"),
        ({"numeric": ["a", "b", "c"]}, {"y": [0, 1, 0]}, {}, None),
        ({"words": np.asarray(["a", "b", "c"])}, {"y": [0, 1, 0]}, {}, "expected numbers"),
        (X, {"y": [0, 1, 0]}, {"groups": np.asarray(["a", None, "b"])}, "groups has 1 missing"),
        (X, {"y": [0, 1, 0]}, {"times": np.asarray([1.0, np.nan, 2])}, "missing or infinite"),
        (X, {"y": [0, 1, 0]}, {"fixed_split": {"exam": np.arange(1)}}, r"parts \['exam'\]"),
        (X, {"y": [0, 1, 0]}, {"fixed_split": {"test": np.asarray([3])}}, "row outside 0..2"),
        (
            X,
            {"y": [0, 1, 0]},
            {"fixed_split": {"test": np.arange(2), "train": np.arange(3)}},
            "a row twice",
        ),
    ],
)
def test_data_that_does_not_fit_together(
    inputs: dict, targets: dict, options: dict, message: str | None
) -> None:
    expected = ValueError if message is None else UserError
    with pytest.raises(expected, match=message):
        Dataset("t", inputs, targets, TASK if targets else {}, **options)
