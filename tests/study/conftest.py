"""Real data for studies: scikit-learn's bundled diabetes table with a third of labels missing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes


@pytest.fixture(scope="session")
def patients() -> pd.DataFrame:
    frame = load_diabetes(as_frame=True).frame.rename(columns={"target": "progression"})
    frame["high"] = (frame["progression"] > 140).map({True: "yes", False: "no"})
    random = np.random.default_rng(0)
    for column in ("progression", "high"):
        frame.loc[random.random(len(frame)) < 0.3, column] = None
    return frame
