"""Real tables with mixed targets and 30 % of the labels missing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_linnerud, load_wine

Table = tuple[pd.DataFrame, pd.DataFrame]


def masked(Y: pd.DataFrame, seed: int = 0, share: float = 0.3) -> pd.DataFrame:
    return Y.mask(np.random.default_rng(seed).random(Y.shape) < share)


@pytest.fixture(scope="session")
def diabetes() -> Table:
    """442 patients: one regression, one binary target with words, one multiclass; a category."""
    data = load_diabetes(as_frame=True, scaled=False)
    X = data.data.assign(sex=np.where(data.data.sex == 1, "a", "b"))
    Y = pd.DataFrame(
        {
            "progression": data.target,
            "high": np.where(data.target > 140, "yes", "no"),
            "weight": pd.cut(X.bmi, 3, labels=["low", "mid", "high"]).astype(object),
        }
    )
    return X.drop(columns="bmi"), masked(Y)


@pytest.fixture(scope="session")
def linnerud() -> Table:
    """20 men: three exercises in, three measures out."""
    data = load_linnerud(as_frame=True)
    return data.data, masked(data.target, seed=3)


@pytest.fixture(scope="session")
def wine() -> Table:
    """178 wines: the cultivar as a whole number, alcohol as a number, a flag as a boolean."""
    data = load_wine(as_frame=True)
    Y = pd.DataFrame({"cultivar": data.target, "alcohol": data.data.alcohol})
    Y["dark"] = (data.data.color_intensity > 5).astype(object)
    return data.data.drop(columns=["alcohol", "color_intensity"]), masked(Y, seed=1)
