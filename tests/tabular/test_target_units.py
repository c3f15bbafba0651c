"""Regression targets are standardised on training rows alone, and nobody sees it from outside.

The unit is a power of two, which changes no digit: predictions must be multiples to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from polytask.cli import run
from polytask.data import make_splits, table_dataset
from polytask.tabular import FitSettings, MultiTaskEstimator, fit_dataset

UNIT = 1024.0


def table(unit: float) -> pd.DataFrame:
    """Measurements, the progression in another unit, and a class beside it."""
    data = load_diabetes(as_frame=True, scaled=False)
    target = data.target.mask(np.random.default_rng(0).random(442) < 0.2)
    return data.data.assign(progression=target * unit, high=np.where(data.target > 140, "y", "n"))


@pytest.mark.parametrize("method", ["linear", "pcgrad"])
def test_the_estimator_predicts_and_scores_in_the_unit_of_the_target(method: str) -> None:
    found = {}
    for unit in (1.0, UNIT):
        frame = table(unit)
        estimator = MultiTaskEstimator(epochs=4, method=method)
        X, Y = frame.drop(columns=["progression", "high"]), frame[["progression", "high"]]
        estimator.fit(X[:330], Y[:330])
        scores = estimator.evaluate(X[330:], Y[330:])
        found[unit] = estimator.predict(X[330:]), scores
    (plain, score), (large, scaled) = found[1.0], found[UNIT]
    assert (large.progression == plain.progression * UNIT).all()
    assert (large.high == plain.high).all()
    assert plain.progression.between(0, 400).all(), "predictions are in the unit of the target"
    assert scaled["progression"]["rmse"] == pytest.approx(score["progression"]["rmse"] * UNIT)
    assert scaled["progression"]["mae"] == pytest.approx(score["progression"]["mae"] * UNIT)
    assert scaled["progression"]["r2"] == pytest.approx(score["progression"]["r2"])


def test_only_training_rows_set_mean_and_deviation() -> None:
    frame = table(1.0)
    dataset = table_dataset(frame, {"progression": "regression", "high": "binary"})
    splits = make_splits(dataset, test_fraction=0.2, val_fraction=0.2, seed=0)
    elsewhere = np.setdiff1d(np.arange(442), splits["train"])
    settings = FitSettings(epochs=1)
    before, _ = fit_dataset(dataset, splits, settings)
    dataset.targets["progression"][elsewhere] *= 100
    after, _ = fit_dataset(dataset, splits, settings)
    seen = frame.progression.to_numpy()[splits["train"]]
    for fitted in (before, after):
        task: Any = fitted.tasks["progression"]
        assert task.mean == pytest.approx(np.nanmean(seen), rel=1e-6)
        assert task.std == pytest.approx(np.nanstd(seen), rel=1e-6)


def test_the_command_predicts_in_the_unit_of_the_column(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = {}
    for unit in (1.0, UNIT):
        name = f"unit{unit:.0f}"
        table(unit).to_csv(f"{name}.csv", index=False)
        words = ["--data", f"{name}.csv", "--targets", "progression:regression", "high:binary"]
        assert run(["train", *words, "--epochs", "2", "--out", name, "--quiet"]) == 0
        model = ["--model", name, "--data", f"{name}.csv", "--out", f"{name}-predicted.csv"]
        assert run(["predict", *model]) == 0
        columns[unit] = pd.read_csv(f"{name}-predicted.csv").progression
    capsys.readouterr()
    np.testing.assert_allclose(columns[UNIT], columns[1.0] * UNIT, rtol=1e-6)
    assert columns[1.0].between(0, 400).all()
