"""Odd tables that can be learned from: they are read, and what was odd is said in a note."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .case import Place, patients

DAYS = pd.date_range("2024-01-01", periods=80).astype(str)
TARGETS = ("progression", "high")


@dataclass(frozen=True)
class Odd:
    """A table, the note that it must get, and what must hold of the data set."""

    name: str
    make: Callable[[Place], Any]
    note: str
    targets: tuple[str, ...] = TARGETS
    file: str = "t.csv"
    holds: Callable[[Any], bool] = lambda dataset: dataset.n == 80


def column(name: str, values: Any, note: str, **more: Any) -> Odd:
    """The patients with a column `odd`."""

    def make(place: Place) -> None:
        made = values(place.frame) if callable(values) else values
        place.write(more.get("file", "t.csv"), place.frame.assign(odd=made))

    return Odd(name, make, note, **more)


def text(name: str, change: Callable[[str], str], note: str, **more: Any) -> Odd:
    """The patients as another text."""
    return Odd(name, lambda p: p.write("t.csv", change(p.frame.to_csv(index=False))), note, **more)


def numeric(*names: str) -> Callable[[Any], bool]:
    """Whether exactly these further columns are numbers."""
    known = {"age", "bmi", "bp", "s1", "s5"}
    return lambda dataset: set(dataset.columns["numeric"]) == known | set(names)


def some(*values: Any) -> Callable[[pd.DataFrame], list[Any]]:
    """A measurement of the patients with a few cells replaced."""
    return lambda frame: [*values, *frame["s1"][len(values) :]]


ODD = [
    column(
        "-999 for what is missing",
        some(-999, -999, -999),
        "odd: 3 rows hold -999, far from all others; if it marks a missing value, leave those",
        holds=numeric("odd"),
    ),
    column(
        "-999 for a missing label",
        some(-999, -999),
        "target odd: 2 rows hold -999, far from all others",
        targets=("odd:regression", "high"),
    ),
    column("dates", DAYS, "odd: dates, counted in days from 2024-01-01", holds=numeric("odd")),
    column(
        "infinities",
        some(np.inf, -np.inf),
        "odd: 2 infinite or too large values count as missing",
        holds=numeric("odd"),
    ),
    column(
        "numbers too large for a computer",
        some("1e400", "-1e400"),
        "odd: 2 infinite or too large values count as missing",
        holds=numeric("odd"),
    ),
    column(
        "an infinite label",
        some(np.inf),
        "target odd: 1 infinite labels count as missing",
        targets=("odd:regression", "high"),
    ),
    column("nothing at all", None, "odd: left out (all values are missing)", holds=numeric()),
    column("one value", 7, "odd: left out (constant)", holds=numeric()),
    column(
        "an identifier",
        [f"p{i}" for i in range(80)],
        "odd: left out (every value is different, like an identifier)",
        holds=numeric(),
    ),
    column("row numbers", range(80), "odd: looks like a row number; drop it", holds=numeric("odd")),
    Odd(
        "a saved index",
        lambda place: place.frame.to_csv("t.csv"),
        "Unnamed: 0: left out (a row number without a name)",
        holds=numeric(),
    ),
    column(
        "decimal commas",
        lambda frame: frame["bmi"].map(lambda v: f"{v:.1f}".replace(".", ",")),
        "odd: numbers with decimal commas such as '32,1', not read as numbers; write them plainly",
    ),
    column(
        "money",
        lambda frame: frame["s1"].map(lambda v: f"${v * 10:,.0f}"),
        "odd: numbers with currency signs such as '$1,570', not read as numbers",
    ),
    column(
        "a few words among numbers",
        some("?", "n.a."),
        "odd: numbers and '?', 'n.a.'; read as numbers, words as missing",
        holds=numeric("odd"),
    ),
    column(
        "many words among numbers",
        ["12", "high", "7", "low"] * 20,
        "odd: numbers and 'high', 'low'; taken as categories",
        holds=numeric(),
    ),
    column(
        "true and false as text",
        ["TRUE", "false"] * 40,
        "target odd: binary",
        targets=("odd", "high"),
    ),
    column(
        "lists",
        lambda frame: [[1, 2]] * len(frame),
        "odd: left out (holds values of type",
        file="t.parquet",
        holds=numeric(),
    ),
    column(
        "the answer under another name",
        lambda frame: 3 * frame["progression"] + 1,
        "odd: says the same as the target progression in every row; if it is known only",
    ),
    column(
        "the answer in words",
        lambda frame: frame["high"].map({"yes": "ill", "no": "well"}),
        "odd: says the same as the target high in every row",
    ),
    column(
        "the answer as 0 and 1, with gaps",
        lambda frame: frame["high"].map({"yes": 1, "no": 0}).where(np.arange(80) > 9),
        "odd: says the same as the target high in all 70 rows that have both",
    ),
    column(
        "one target twice",
        lambda frame: frame["high"].map({"yes": "ill", "no": "well"}),
        "targets high and odd say the same in every row",
        targets=("high", "odd"),
    ),
    column(
        "whole numbers for classes",
        [1, 2, 3, 4] * 20,
        "target odd: multiclass with 4 classes (only 4 distinct whole numbers; a guess: write "
        "odd:regression if it is not)",
        targets=("odd", "high"),
    ),
    column(
        "a rare class",
        ["rare", *["a", "b"] * 39, "a"],
        "target odd: fewer than 3 rows have 'rare'",
        targets=("odd", "high"),
    ),
    text(
        "names of other alphabets",
        lambda csv: csv.replace("bmi,bp", "体重,Größe 🙂"),
        "inputs: 5 numeric, 2 categorical columns",
        holds=lambda dataset: "Größe 🙂" in dataset.columns["numeric"],
    ),
    text(
        "a line break in a name",
        lambda csv: csv.replace("bmi,bp", '"body\nmass",bp'),
        "inputs: 5 numeric",
        holds=lambda dataset: "body\nmass" in dataset.columns["numeric"],
    ),
    text(
        "a name of spaces",
        lambda csv: csv.replace("bmi,bp", "  ,bp"),
        "inputs: 5 numeric",
        holds=lambda dataset: "Unnamed: 2" in dataset.columns["numeric"],
    ),
    text("carriage returns alone", lambda csv: csv.replace("\n", "\r"), "inputs: 5 numeric"),
    text("a byte order mark", lambda csv: "\ufeff" + csv, "inputs: 5 numeric"),
    Odd(
        "10,000 columns",
        lambda place: place.write("t.csv", wide()),
        "inputs: 10005 numeric, 2 categorical columns",
        holds=lambda dataset: dataset.inputs["numeric"].shape == (80, 10_005),
    ),
]


def wide() -> pd.DataFrame:
    """The patients with 10,000 columns of noise."""
    noise = np.random.default_rng(0).normal(size=(80, 10_000)).round(2)
    names = [f"gene {i}" for i in range(10_000)]
    return pd.concat([patients(), pd.DataFrame(noise, columns=names)], axis=1)
