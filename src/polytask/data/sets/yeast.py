"""Yeast genes: fourteen functional classes from expression and phylogenetic profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.fetch import fetch
from polytask.data.table import table_dataset
from polytask.errors import need, unknown
from polytask.tasks import Task

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "Yeast gene functions",
    "kind": "table",
    "rows": 2417,
    "inputs": "103 numeric columns",
    "tasks": {"Class1 to Class14": "binary: the gene has the function; 4.24 of 14 on average"},
    "split": "drawn by seed; split='published' gives MULAN's 1,500 training and 917 test rows",
    "address": "https://mulan.sourceforge.net/datasets-mlc.html",
    "source": "A. Elisseeff and J. Weston, A kernel method for multi-labelled classification, "
    "NIPS 2001; in the form of MULAN (OpenML 40597)",
    "licence": "the carrying package is BSD-3-Clause; the publishers of the data name no licence",
    "carriers": [
        {
            "client": "pip",
            "package": "river",
            "version": "0.26.1",
            "members": ["river/datasets/yeast.csv.gz"],
            "sha256": "94e27c46d82801e4d78bebc7a86a0a731796ba851245942726ce8e52b5de9b2c",
            "megabytes": 2.7,
        }
    ],
    "notes": [
        "the file is MULAN's yeast-test.arff (917 rows) followed by yeast-train.arff (1,500 rows): "
        "every row and its place were compared with a public copy of both and are equal",
        "Class14 has 34 positive rows, so a small part of a split may have very few",
    ],
}
LABELS = tuple(f"Class{i}" for i in range(1, 15))
TEST_ROWS = 917


def yeast(split: str | None = None) -> Dataset:
    """Yeast gene functions: 2,417 genes, 103 measurements, 14 yes-or-no classes.

    Args:
        split: `published` for MULAN's 917 test rows; None to draw one.

    Raises:
        UserError: an unknown split, or the data cannot be fetched.
    """
    if split not in (None, "published"):
        raise unknown("split of yeast:", split, ["published"])
    try:
        import pandas as pd
    except ImportError as error:
        raise need("pandas", "app", "reading yeast") from error
    (file,) = fetch(CARD).values()
    tasks = [Task(name, "binary", classes=(0, 1)) for name in LABELS]
    dataset = table_dataset(pd.read_csv(file), tasks, name="yeast")
    if split == "published":
        rows = np.arange(dataset.n)
        dataset.fixed_split = {"train": rows[TEST_ROWS:], "test": rows[:TEST_ROWS]}
    return dataset
