"""Targets that cannot be learned, in tables that are read without trouble."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .case import Case, Make, Place

DAYS = pd.date_range("2024-01-01", periods=80).astype(str)


def with_columns(**columns: Any) -> Make:
    """The patients with further columns, or functions of the patients, as t.csv."""

    def make(place: Place) -> None:
        made = {n: v(place.frame) if callable(v) else v for n, v in columns.items()}
        place.write("t.csv", place.frame.assign(**made))

    return make


def wanting(targets: str, case: str, says: str, **columns: Any) -> Case:
    """Training for these targets."""
    words = ["train", "--data", "t.csv", "--targets", *targets.split(" ")]
    return Case(case, words, says, with_columns(**columns))


def thousands(place: Place) -> None:
    labels = [f"c{i % 5000}" for i in range(10_000)]
    place.write("t.csv", pd.DataFrame({"x": np.arange(10_000.0) % 97, "y": labels}))


CONSTANT = "there is nothing to learn || is constant: every label is {} || Choose another target"
EMPTY = "has no labels || all 80 values are missing || Choose another target"
NO_INPUT = "Expected at least one || no input column is left of {} || name fewer targets"

TARGETS = [
    wanting("y", "constant number", CONSTANT.format("'1.5'"), y=1.5),
    wanting("y", "one class", CONSTANT.format("'only'"), y="only"),
    wanting(
        "y:binary",
        "one class and gaps",
        CONSTANT.format("'yes'"),
        y=lambda f: f.high.where(f.high == "yes"),
    ),
    wanting("y", "no label at all", EMPTY, y=None),
    wanting("y", "blanks for labels", EMPTY, y="  "),
    wanting("y:multilabel", "multilabel without labels", EMPTY, y=None),
    wanting(
        "y:multilabel",
        "multilabel of one label",
        "there is nothing to learn || no label has both a 0 and a 1 || how labels are separated",
        y="red",
    ),
    wanting(
        "y:multilabel",
        "lists written as text",
        "expected labels with a mark between them || 80 lists among 80 cells || Write every cell",
        y="['red', 'blue']",
    ),
    wanting(
        "progression y --split time:day",
        "no label among the training rows",
        "training targets has a label || task 'y': none of its || drop the task",
        y=lambda f: f.high.where(np.arange(80) > 70),
        day=DAYS,
    ),
    wanting(
        "progression y --split time:day",
        "one class among the training rows",
        "training sees another class || training labels are 'no' || Drop the task",
        y=["no"] * 60 + ["yes"] * 20,
        day=DAYS,
    ),
    wanting(
        "y",
        "dates",
        "expected numbers or labels || holds dates || days since a start",
        y=DAYS,
    ),
    wanting(
        "y:multiclass",
        "dates as classes",
        "expected labels || holds dates such as '2024-01-01' || turn it into classes",
        y=DAYS,
    ),
    wanting(
        "y:regression",
        "dates as numbers",
        "expected numbers || holds dates such as '2024-01-01' || days since a start",
        y=DAYS,
    ),
    wanting(
        "high:regression",
        "words for numbers",
        "expected numbers || holds words such as 'yes' || ask for high:multiclass",
    ),
    wanting(
        "y:regression",
        "numbers as people write them",
        "expected numbers || currency signs such as '$1,200' || Write plain numbers",
        y=["12", "n/a", "12,5", "$1,200"] * 20,
    ),
    wanting(
        "y:regression",
        "decimal commas",
        "expected numbers || decimal commas such as '151,0' || with a decimal point",
        y=lambda f: f.progression.map(lambda v: f"{v:.1f}".replace(".", ",")),
    ),
    wanting(
        "y:regression",
        "money",
        "expected numbers || currency signs such as '$151.00' || Write plain numbers",
        y=lambda f: f.progression.map(lambda v: f"${v:,.2f}"),
    ),
    wanting(
        "y:regression",
        "percent",
        "expected numbers || percent signs such as '151%' || Write plain numbers",
        y=lambda f: f.progression.map(lambda v: f"{v:.0f}%"),
    ),
    wanting(
        "y",
        "numbers and a few words",
        "expected numbers only or labels only || 'lost', 'pending' || Leave missing labels empty",
        y=lambda f: [*f.progression[:78], "pending", "lost"],
    ),
    wanting(
        "weight:binary",
        "binary with three labels",
        "expected 2 || 3 different labels ('low', 'mid', 'top') || Ask for weight:multiclass",
    ),
    wanting(
        "bmi:binary",
        "binary of a measurement",
        "expected class labels || numbers with fractions || Ask for bmi:regression",
    ),
    wanting(
        "s5:multiclass",
        "classes of a measurement",
        "expected class labels || numbers with fractions || Ask for s5:regression",
    ),
    wanting(
        "y:multiclass",
        "a class in every row",
        "classes that repeat || a different label in each of 80 rows || drop it",
        y=[f"p{i}" for i in range(80)],
    ),
    Case(
        "5,000 classes",
        "train --data t.csv --targets y",
        "expected at most 100 || 5000 different labels || ask for y:multiclass",
        thousands,
    ),
    wanting(
        "progression:count",
        "a kind that does not exist",
        "as in progression:regression || 'count' || it is regression here",
    ),
    wanting(
        "high:classification",
        "a kind of another library",
        "Known: binary || 'classification' || it is binary or multiclass here",
    ),
    wanting(
        "progression:regresion",
        "a misspelt kind",
        "Known: auxiliary, binary || 'regresion' || did you mean 'regression'?",
    ),
    wanting(
        "high:binary:helper",
        "a role that does not exist",
        "Known: auxiliary, main || unknown role of target 'high': 'helper' || --help",
    ),
    wanting(
        "progresion high",
        "a misspelt name",
        "Known: age, bmi || unknown target column 'progresion' || did you mean 'progression'?",
    ),
    wanting(
        "Progression",
        "a name in capitals",
        "Known: age, bmi || unknown target column 'Progression' || did you mean 'progression'?",
    ),
    wanting(
        "progresion:regresion",
        "name and kind misspelt",
        "Known: age, bmi || unknown target column 'progresion' || did you mean 'progression'?",
    ),
    wanting(
        "high high:multiclass",
        "a target twice",
        "expected every column once || 'high' was given twice || Leave one out",
    ),
    wanting(
        "high --drop high",
        "a target that is dropped",
        "it cannot be in drop too || 'high' is a target || Leave it out of one",
    ),
    wanting(
        "progression high --drop age sex bmi bp s1 s5 weight",
        "nothing left to predict from",
        NO_INPUT.format(9),
    ),
    wanting(
        "age sex bmi bp s1 s5 progression high weight",
        "all columns are targets",
        NO_INPUT.format(9),
    ),
    wanting(
        "high --drop age sex bmi bp s1 s5 weight progression",
        "inputs that say nothing",
        NO_INPUT.format(11),
        note=1,
        id=[f"r{i}" for i in range(80)],
    ),
    wanting(
        "high:auxiliary progression:auxiliary",
        "auxiliary targets only",
        "needs a main task || every task is auxiliary || Give one the role 'main'",
    ),
    wanting("", "an empty name", "expected COLUMN || found '' || write the column's name first"),
    wanting(
        ":regression",
        "a kind without a name",
        "expected COLUMN || found ':regression' || write the column's name first",
    ),
    wanting(
        "a/b",
        "a name with a slash",
        "must be a text without '/' || found 'a/b' || rename the column",
        **{"a/b": lambda f: f.bmi},
    ),
]
