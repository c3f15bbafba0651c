"""Real data for studies of several data sets: scikit-learn's wines, cut into two tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

SMALL: dict[str, Any] = {
    "encoder": {"mlp": {"hidden": [8]}},
    "seeds": 2,
    "epochs": 2,
    "batch_size": {"cultivar": 32, "strong, ash": 16},
    "lr": [1e-2],
    "workers": 2,
    "progress": False,
}


def wines(first: int = 110) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cultivar of some wines; whether others have much colour, and how much ash."""
    frame = load_wine(as_frame=True).frame.sample(frac=1, random_state=0, ignore_index=True)
    frame["cellar"] = np.arange(len(frame)) % 20
    strong = (frame.pop("color_intensity") > 5).map({True: "yes", False: "no"})
    one = frame[:first].rename(columns={"target": "cultivar"}).drop(columns="ash")
    other = frame[first:].drop(columns="target").assign(strong=strong[first:])
    return one.drop(columns="cellar"), other.drop(columns="cellar")


def written(folder: Path) -> dict[str, str]:
    """The tables as files, by their tasks."""
    one, other = wines()
    one.to_csv(folder / "first.csv", index=False)
    other.to_parquet(folder / "second.parquet", index=False)
    return {
        "cultivar": str(folder / "first.csv"),
        "strong, ash": str(folder / "second.parquet"),
    }
