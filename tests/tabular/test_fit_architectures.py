"""Every architecture fits a table by its name, and a saved model answers the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes

from polytask import MultiTaskEstimator, list_architectures
from polytask.data import Preprocessor, load_dataset
from polytask.tabular.fitted import blank


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Diabetes with a category, and two targets of which a part is missing."""
    frame = load_diabetes(as_frame=True, scaled=False).frame
    inputs = frame.drop(columns=["target"])
    inputs["sex"] = inputs["sex"].map({1.0: "f", 2.0: "m"})
    targets = pd.DataFrame(
        {"progression": frame["target"], "high": np.where(frame["target"] > 140, "yes", "no")}
    )
    targets.loc[::5, "high"] = None
    return inputs, targets


@pytest.mark.parametrize("name", list_architectures())
def test_every_architecture_fits_a_table_and_is_saved(
    name: str, table: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    inputs, targets = table
    model = MultiTaskEstimator(
        architecture=name, encoder={"mlp": {"hidden": [16, 16]}}, epochs=2, batch_size=64
    ).fit(inputs, targets)
    answered = model.predict(inputs)
    assert list(answered) == ["progression", "high"]
    assert np.isfinite(answered["progression"]).all()
    model.save(tmp_path / "model")
    again = MultiTaskEstimator.load(tmp_path / "model").predict(inputs)
    pd.testing.assert_frame_equal(again, answered)


@pytest.mark.parametrize("name", ["digits"])
def test_blank_inputs_have_the_shapes_of_prepared_ones(name: str) -> None:
    dataset = load_dataset(name)
    fitted = Preprocessor.fit(dataset, np.arange(100))
    real = fitted.transform({key: value[:2] for key, value in dataset.inputs.items()})
    zeros = blank(fitted.spec)
    assert {k: (v.shape, v.dtype) for k, v in zeros.items()} == {
        k: (v.shape, v.dtype) for k, v in real.items()
    }
    assert not any(bool(torch.any(value != 0)) for value in zeros.values())
