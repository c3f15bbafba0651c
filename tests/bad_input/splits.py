"""Splits that cannot be made, and test tables that do not go with the training table."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, Make, Place
from .targets import wanting

TEST = "train --data t.csv --test test.csv --targets progression high"


def judged(case: str, says: str, split: str = "", **columns: Any) -> Case:
    """Training with a test table in which some columns are others (None takes one away)."""
    return Case(case, f"{TEST} {split}".strip(), says, two_tables(**columns))


def two_tables(**columns: Any) -> Make:
    """60 patients as t.csv, the others, changed, as test.csv."""

    def make(place: Place) -> None:
        place.write("t.csv", place.frame[:60])
        rest = place.frame[60:].drop(columns=[name for name, v in columns.items() if v is None])
        place.write("test.csv", rest.assign(**{n: v for n, v in columns.items() if v is not None}))

    return make


SPLITS = [
    wanting(
        "high --split group:g",
        "groups with gaps",
        "expected a group for every row || 'g' has 20 missing values || use another column",
        g=["a", "b", "c", None] * 20,
    ),
    wanting(
        "high --split group:g",
        "one group",
        "needs a group for every part || belong to 1 group. || a random split",
        g="clinic",
    ),
    wanting(
        "high --split group:high",
        "a group that is a target",
        "it cannot be in group too || 'high' is a target || Leave it out of one",
    ),
    wanting(
        "high --split time:when",
        "times as words",
        "expected dates || holds words such as 'soon' || use another column",
        when=["soon", "later"] * 40,
    ),
    wanting(
        "high --split time:when",
        "times with gaps",
        "expected one in every row || 'when' has 1 missing || Fill them",
        when=["2024-01-01"] * 79 + [None],
    ),
    wanting(
        "high --split time:when",
        "one time",
        "needs a time for every part || 1 different time. || a random split",
        when="2024-01-01",
    ),
    wanting(
        "progression --split stratified",
        "stratified by a number",
        "needs a binary or multiclass || only progression (regression) || split=random",
    ),
    wanting(
        "progression high --split stratified:progression",
        "stratified by a number beside classes",
        "needs a binary or multiclass || 'progression' is regression || Name one of high",
    ),
    wanting(
        "progression --split stratified:sex",
        "stratified by what is no target",
        "needs a binary or multiclass || 'sex' is no target || split=random",
    ),
    wanting(
        "y --split stratified",
        "stratified with a class of one row",
        "needs at least 3 || class 'rare' of 'y' has 1 row; || Merge or drop the class",
        y=["rare", *["a", "b"] * 39, "a"],
    ),
    wanting(
        "high --split random:sex",
        "random by a column",
        "should be one of random || 'random:sex' || --help",
    ),
    wanting(
        "high progression --select main:bmi",
        "judged by what is no target",
        "Known: high, progression || unknown task in select='main:NAME': 'bmi' || --help",
    ),
    judged(
        "test table without a target",
        "expected the columns of the training table || lacks 'high' || Add what is missing",
        high=None,
    ),
    judged(
        "test table without an input",
        "expected the columns of the training table || lacks 'bmi' || empty cells for an input",
        bmi=None,
    ),
    judged(
        "test table without labels",
        "nothing could be judged || 'high' has no labels in the test table || Give its labels",
        high=np.nan,
    ),
    judged(
        "test table with a new class",
        "its classes: no, yes || test table: target 'high' holds the label || Correct it",
        high="perhaps",
    ),
    judged(
        "test table with words for numbers",
        "expected numbers || test table: column 'bmi' holds 'thin' || leave missing ones empty",
        bmi="thin",
    ),
    judged(
        "test table with words for labels",
        "expected numbers || holds words such as 'much' || Leave missing ones empty",
        progression="much",
    ),
    judged(
        "groups on both sides",
        "needs each on one side || 1 group is in both || another test file",
        split="--split group:sex",
    ),
    Case(
        "test table that is empty",
        TEST,
        "a table with a header was expected || test.csv is empty (0 bytes) || --help",
        lambda p: (p.write("t.csv"), p.write("test.csv", "")),
    ),
    Case(
        "test table that is none",
        TEST,
        "expected a text table || is a web page || Was an error page downloaded",
        lambda p: (p.write("t.csv"), p.write("test.csv", "<html></html>")),
    ),
]
