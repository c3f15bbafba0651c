"""Parts of a split without labels, and classes that are not in every part, are noted."""

import numpy as np
import pandas as pd

from polytask.data import Dataset, make_splits, table_dataset
from polytask.data.gaps import gaps
from polytask.tabular import MultiTaskEstimator


def dataset(cultivar: pd.Series, alcohol: pd.Series, wine: pd.DataFrame) -> Dataset:
    frame = wine.assign(cultivar=cultivar.map("c{:.0f}".format, na_action="ignore"))
    return table_dataset(frame.assign(alcohol=alcohol), ["cultivar", "alcohol"])


def test_a_complete_split_gets_no_note(wine: pd.DataFrame) -> None:
    data = dataset(wine.cultivar, wine.alcohol, wine)
    assert gaps(data, make_splits(data, split="stratified")) == []


def test_what_is_missing_is_named_by_part(wine: pd.DataFrame) -> None:
    data = dataset(wine.cultivar, wine.alcohol.where(np.arange(178) < 100), wine)
    # The rows are in the order of the cultivars.
    rows = np.arange(178)
    parts = {"train": rows[:110], "val": rows[110:160], "test": rows[160:]}
    notes = gaps(data, parts)
    spread = "a stratified split spreads classes, and rare ones may be merged"
    assert notes == [
        f"target cultivar: no train row has 'c2'; {spread}",
        f"target cultivar: no val row has 'c0'; {spread}",
        f"target cultivar: no test row has 'c0', 'c1'; {spread}",
        "target alcohol: no label among the 50 val rows",
        "target alcohol: no label among the 18 test rows",
    ]
    assert gaps(data, {"train": rows, "val": rows[:0], "test": rows[:0]}) == []


def test_the_estimator_tells(wine: pd.DataFrame) -> None:
    targets = pd.DataFrame({"alcohol": wine.alcohol, "kind": wine.cultivar.map("k{}".format)})
    targets.loc[1:, "kind"] = targets.loc[1:, "kind"].replace("k0", "k1")
    model = MultiTaskEstimator(epochs=1).fit(wine.drop(columns=["alcohol", "cultivar"]), targets)
    assert "target kind: fewer than 3 rows have 'k0'" in model.notes_
    assert [note for note in model.notes_ if "row has 'k0'" in note]
