"""Arrays that do not make a data set, and splits of it that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.data import Dataset, load_dataset, make_splits, table_dataset
from polytask.tasks import Task

from .case import Case, Make, Place, patients

ROWS = np.arange(40)
N = Task("y", "regression")


def arrays(case: str, says: str, **changed: Any) -> Case:
    """A data set of 40 rows with something changed."""

    def call(place: Place) -> None:
        given: dict[str, Any] = {
            "name": "own",
            "inputs": {"numeric": np.ones((40, 2), np.float32)},
            "targets": {"y": ROWS.astype(np.float32)},
            "tasks": {"y": N},
        }
        Dataset(**{**given, **changed})

    return Case(case, call, says, door="Dataset")


def call(case: str, call: Make, says: str, make: Make | None = None) -> Case:
    return Case(case, call, says, make, door="Dataset")


def cut_off(place: Place) -> None:
    load_dataset("digits").subset(ROWS).save(place.folder / "set")
    file = place.folder / "set" / "dataset.json"
    file.write_text(file.read_text()[:200])


COLUMNS = "expected [rows, columns] || has shape (40,) || array[:, None]"
CODES = "expected 0..{} || holds class codes {} || Task.encode makes them"
TARGETS = ["progression", "high"]

DATASETS = [
    arrays("no inputs", "expected at least one array || has no inputs || inputs={'num", inputs={}),
    arrays(
        "no targets",
        "expected at least one || has no targets || targets={'price': array}",
        targets={},
        tasks={},
    ),
    arrays(
        "a task without its target",
        "expected the same names in both || tasks are ['y', 'z'] || Add what is missing",
        tasks={"y": N, "z": Task("z", "regression")},
    ),
    arrays(
        "a task of another name",
        "expected one name for both || task 'z' is called 'y' || Rename one of them",
        targets={"z": ROWS.astype(float)},
        tasks={"z": N},
    ),
    arrays(
        "a kind for a task",
        "expected a polytask.Task || the task 'y' is a str || Task('y', 'regression')",
        tasks={"y": "regression"},
    ),
    arrays(
        "targets of another length",
        "expected 40 || target 'y' has 39 rows || Keep one entry a row",
        targets={"y": np.zeros(39, np.float32)},
    ),
    arrays(
        "words for inputs",
        "expected numbers || is of type <U1 || table_dataset",
        inputs={"numeric": np.asarray([["a"]] * 40)},
    ),
    arrays(
        "words for other inputs",
        "expected numbers || 'words' is of type <U1 || Encode words as whole numbers",
        inputs={"words": np.asarray(["a"] * 40)},
    ),
    arrays(
        "objects for inputs",
        "expected numbers || is of type object || Encode words",
        inputs={"numeric": np.asarray([[None, "a"]] * 40, dtype=object)},
    ),
    arrays(
        "complex inputs",
        "expected real numbers || is of type complex128 || as two columns",
        inputs={"numeric": np.ones((40, 1)) * 1j},
    ),
    arrays(
        "one value",
        "one entry a row || is a single value || Pass an array",
        inputs={"numeric": np.float32(3)},
    ),
    arrays(
        "lists of unequal length",
        "expected an array || rows of unequal length || Fill the short ones",
        inputs={"numeric": [[1.0, 2.0]] * 39 + [[1.0]]},
    ),
    arrays("one dimension", COLUMNS, inputs={"numeric": np.ones(40, np.float32)}),
    arrays(
        "words for targets",
        "expected numbers || is of type <U1 || encode raw labels with Task.encode",
        targets={"y": np.asarray(["a"] * 40)},
    ),
    arrays(
        "fractions for classes",
        "whole-number class codes || is of type float64 || Task.encode",
        targets={"y": ROWS / 2},
        tasks={"y": Task("y", "multiclass", classes=range(40))},
    ),
    arrays(
        "a class code too high",
        CODES.format(38, "0..39"),
        targets={"y": ROWS},
        tasks={"y": Task("y", "multiclass", classes=range(39))},
    ),
    arrays(
        "another code for what is missing",
        CODES.format(1, "-1..0"),
        targets={"y": -(ROWS % 2)},
        tasks={"y": Task("y", "binary")},
    ),
    arrays(
        "a row in two parts",
        "parts that do not overlap || a row twice (0) || Leave it in one",
        fixed_split={"train": ROWS, "test": ROWS[:3]},
    ),
    arrays(
        "a row that is not there",
        "those of this data set || holds 40, a row outside 0..39 || Count rows from 0",
        fixed_split={"test": [40]},
    ),
    arrays(
        "fractions for rows",
        "expected row numbers || is of type float64 || one true or false for each",
        fixed_split={"test": ROWS / 2},
    ),
    arrays(
        "a part of another name",
        "expected train, val and test || has the parts ['dev'] || Rename them",
        fixed_split={"dev": [1]},
    ),
    arrays(
        "groups with gaps",
        "expected one for every row || groups has 20 missing values || Fill them",
        groups=np.asarray([None, "a"] * 20, dtype=object),
    ),
    arrays(
        "groups of another length",
        "expected 40 || 'groups' has 5 rows || Keep one entry a row",
        groups=ROWS[:5],
    ),
    arrays(
        "times as text",
        "expected datetimes or numbers || is of type <U6 || pandas.to_datetime",
        times=np.asarray(["monday"] * 40),
    ),
    arrays(
        "times with gaps",
        "expected one for every row || times has 4 missing || Fill them",
        times=np.where(ROWS > 3, ROWS, np.nan),
    ),
    call(
        "a split that does not exist",
        lambda place: make_splits(load_dataset("digits"), split="startified"),
        "Known: group || unknown split 'startified' || did you mean 'stratified'?",
    ),
    call(
        "a seed of text",
        lambda place: make_splits(load_dataset("digits"), seed="one"),
        "a whole number || found 'one' || at least 0",
    ),
    call(
        "a fraction of text",
        lambda place: make_splits(load_dataset("digits"), test_fraction="15%"),
        "a share of at least 0 || test_fraction is '15%' || below 1",
    ),
    call(
        "a saved set that is cut off",
        lambda place: Dataset.load(place.folder / "set"),
        "dataset.json || is damaged || Save the data set again",
        cut_off,
    ),
    call(
        "a kind of input that does not exist",
        lambda place: table_dataset(patients(), TARGETS, kinds={"bmi": "number"}),
        "Known: categorical || column 'bmi': 'number' || did you mean 'numeric'?",
    ),
    call(
        "words that should be numbers",
        lambda place: table_dataset(patients(), TARGETS, kinds={"sex": "numeric"}),
        "expected numbers || 'sex' holds words such as 'm' || Ask for 'categorical'",
    ),
    call(
        "a column in kinds that is not there",
        lambda place: table_dataset(patients(), TARGETS, kinds={"bmj": "numeric"}),
        "Known: age || column in kinds: 'bmj' || did you mean 'bmi'?",
    ),
]
