"""Tables and settings that the estimator cannot take, and new rows that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from polytask import MultiTaskEstimator, create_method
from polytask.tasks import Task

from .case import Case, Make, Place, patients

FRAME = patients()
TARGETS = ["progression", "high"]
X, Y = FRAME.drop(columns=TARGETS), FRAME[TARGETS]


def table(case: str, says: str, x: Any = X, y: Any = Y, targets: Any = None) -> Case:
    """Fitting these tables."""
    return Case(
        case,
        lambda place: MultiTaskEstimator(epochs=1).fit(x, y, targets=targets),
        says,
        door="estimator",
    )


def setting(case: str, says: str, **settings: Any) -> Case:
    """Fitting with these settings."""

    def call(place: Place) -> None:
        MultiTaskEstimator(**{"epochs": 1, **settings}).fit(X, Y)

    return Case(f"setting: {case}", call, says, door="estimator")


def fitted(case: str, says: str, call: Any) -> Case:
    """A call on an estimator that has been fitted."""

    def make(place: Place) -> None:
        place.kept["model"] = MultiTaskEstimator(epochs=1).fit(X, Y)

    return Case(f"fitted: {case}", lambda p: call(p.kept["model"]), says, make, door="estimator")


def spoilt(change: Any) -> Make:
    """A saved model with a changed file."""

    def make(place: Place) -> None:
        change(MultiTaskEstimator(epochs=1).fit(X, Y).save(place.folder / "model"))

    return make


def halve(model: Any) -> None:
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[: len(whole) // 2])


TABLE = "should be a pandas DataFrame || found {} || {}"
INDEX = "expected one for both || their indexes differ || Use Y.loc[X.index]"
EMPTY = "expected at least one of each || X is empty: {} || filtered down to nothing?"
CHOICE = "a name or one name with its arguments || found {} || write 'pcgrad'"

ESTIMATORS = [
    table(
        "no targets",
        "fit(X) needs the targets || found neither Y nor targets= || Pass Y",
        y=None,
    ),
    table("arrays for tables", TABLE.format("ndarray", "pd.DataFrame(X)"), x=X.to_numpy()),
    table("a file for a table", TABLE.format("str", "read_table(path)"), x="houses.csv"),
    table(
        "a series without a name",
        "expected one || Y is a Series without a name || Y.rename('price')",
        y=Y.high.rename(None),
    ),
    table("fewer rows of targets", INDEX, y=Y[:50]),
    table("another index", INDEX, y=Y.set_axis(range(100, 180))),
    table(
        "targets among the inputs",
        "expected them in one || 'progression', 'high' are in X and in Y || Drop them from X",
        x=FRAME,
    ),
    table("no rows", EMPTY.format("0 rows"), x=X[:0], y=Y[:0]),
    table("no columns", EMPTY.format("80 rows, 0 columns"), x=X[[]]),
    table(
        "two columns of one name",
        "expected every name once || two columns called 'age' || Rename one",
        x=pd.concat([X, X.age], axis=1),
    ),
    table(
        "inputs of lists",
        "Expected at least one || left out as holds values of type list: x || keep more of them",
        x=pd.DataFrame({"x": [[1, 2]] * 80}),
    ),
    table(
        "a target of lists",
        "expected numbers or labels || holds values of type list || ask for high:multilabel",
        y=Y.assign(high=[[1]] * 80),
    ),
    table(
        "a target of complex numbers",
        "expected numbers or labels || holds complex numbers || Make one column",
        y=Y.assign(high=[1j, 2j] * 40),
    ),
    table(
        "lists and texts in one target",
        "with a mark between them || 40 lists among 80 cells || Write every cell so",
        y=Y.assign(high=[["a"], "b|c"] * 40),
        targets=["high:multilabel"],
    ),
    table(
        "a task for another column",
        "expected one name for both || is called 'low' || Rename the task",
        targets={"high": Task("low", "binary")},
    ),
    table(
        "classes that leave a label out",
        "among its classes: yes, maybe || holds the label 'no' || Correct it",
        targets={"high": Task("high", "binary", classes=("yes", "maybe"))},
    ),
    table(
        "targets as a number",
        "should be a list || found 3 || such as ['price:regression', 'sold']",
        targets=3,
    ),
    setting("a misspelt encoder", "Known: mlp || 'mpl' || did you mean 'mlp'?", encoder="mpl"),
    setting("two methods", CHOICE.format("{'pcgrad': {}"), method={"pcgrad": {}, "mgda": {}}),
    setting("a method that is built", CHOICE.format("PCGrad("), method=create_method("pcgrad")),
    setting(
        "an argument that the method lacks",
        "Known: audit_every || argument of method cagrad: 'cc' || did you mean 'c'?",
        method={"cagrad": {"cc": 0.4}},
    ),
    setting(
        "an argument of text",
        "should be a number || found 'high' || cagrad: c",
        method={"cagrad": {"c": "high"}},
    ),
    setting(
        "an argument without its name",
        "should be a mapping || found 0.4 || with the argument's name",
        method={"cagrad": 0.4},
    ),
    setting(
        "validation of everything",
        "a share of at least 0 and below 1 || val_fraction is 1.0 || below 1",
        val_fraction=1.0,
    ),
    setting("epochs as text", "a whole number || found '20' || epochs must be", epochs="20"),
    setting("batches of none", "at least 1 || found 0 || batch_size must be", batch_size=0),
    setting("half of a patience", "a whole number || found 0.5 || patience", patience=0.5),
    setting("a seed of text", "a whole number || found '0' || seed must be", seed="0"),
    setting("a negative seed", "at least 0 || found -1 || seed must be", seed=-1),
    fitted(
        "new rows without a column",
        "which training had as input || lacks 'bmi' || add it with empty cells",
        lambda model: model.predict(X.drop(columns="bmi")),
    ),
    fitted(
        "new rows with a column under another name",
        "which training had as input || lacks 'bmi' || is it 'BMI' here? Rename it",
        lambda model: model.predict(X.rename(columns={"bmi": "BMI"})),
    ),
    fitted(
        "words for numbers",
        "expected numbers || 'bmi' holds 'thin' || leave missing ones empty",
        lambda model: model.predict(X.assign(bmi="thin")),
    ),
    fitted(
        "dates for numbers",
        "expected numbers || 'bmi' holds dates such as '2024-01-01 || Give them as numbers",
        lambda model: model.predict(X.assign(bmi=pd.Timestamp("2024-01-01"))),
    ),
    fitted("no new rows", EMPTY.format("0 rows"), lambda model: model.predict(X[:0])),
    fitted(
        "a file for new rows",
        TABLE.format("str", "read_table(path)"),
        lambda model: model.predict("new.csv"),
    ),
    fitted(
        "judged by a label that it never saw",
        "among its classes: no, yes || holds the label 'perhaps' || Correct it",
        lambda model: model.evaluate(X, Y.assign(high="perhaps")),
    ),
    fitted(
        "judged without labels",
        "expected labels of at least one || no task has a defined score || more than one value",
        lambda model: model.score(X, Y.assign(progression=np.nan, high=None)),
    ),
    fitted(
        "saved where nothing can be written",
        "that can be written to || cannot create the folder /proc/polytask/m || Choose a place",
        lambda model: model.save("/proc/polytask/m"),
    ),
    Case(
        "loaded from nothing",
        lambda place: MultiTaskEstimator.load(place.folder / "none"),
        "expected a model saved by || there is no folder || polytask train --out",
        door="estimator",
    ),
    Case(
        "loaded from a damaged model",
        lambda place: MultiTaskEstimator.load(place.folder / "model"),
        "is not the file that polytask.json || it is damaged || Save the model again",
        spoilt(halve),
        door="estimator",
    ),
]
