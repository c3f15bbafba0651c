"""Helpers on real data, through the Trainer: they are learned, and the main task still is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_wine

from polytask.architectures import create_architecture, create_encoder
from polytask.auxiliary import Construction, construct, create_auxiliary
from polytask.data import Batches, Dataset, Preprocessor, load_dataset, make_splits, table_dataset
from polytask.data.sets.digits import digits
from polytask.metrics import Undefined
from polytask.study.source import keep_tasks
from polytask.training import History, Trainer


def trained(
    dataset: Dataset,
    recipes: list[Construction],
    epochs: int,
    encoder: dict[str, Any] | None = None,
    **options: Any,
) -> History:
    torch.manual_seed(0)
    splits = make_splits(dataset, seed=0)
    extended, rows = construct(recipes, dataset, splits["train"], seed=0)
    preprocessor = Preprocessor.fit(extended, splits["train"])
    tasks = {n: t.fitted(extended.targets[n][rows]) for n, t in extended.tasks.items()}

    def batches(which: np.ndarray, **more: Any) -> Batches:
        inputs = preprocessor.transform({k: v[which] for k, v in extended.inputs.items()})
        targets = {k: torch.from_numpy(v[which]) for k, v in extended.targets.items()}
        return Batches(inputs, targets, 64, **more)

    kind = "resnet" if "image" in extended.inputs else "mlp"
    body = create_encoder(kind, preprocessor.spec, **(encoder or {}))
    model = create_architecture("hard_sharing", body, tasks)
    trainer = Trainer(model, tasks, epochs=epochs, lr=3e-3, progress=False, **options)
    return trainer.fit(batches(rows, shuffle=True), batches(splits["val"]))


@pytest.fixture(scope="module")
def wine() -> Dataset:
    bunch = load_wine(as_frame=True)
    frame: pd.DataFrame = bunch.frame.rename(columns={"od280/od315_of_diluted_wines": "od"})
    frame.loc[::9, "ash"] = np.nan
    return table_dataset(frame, ["target:multiclass"])


def test_pictures() -> None:
    dataset = keep_tasks(digits(), ["digit"]).subset(np.arange(500))
    recipes = [
        create_auxiliary("rotation", share=0.5),
        create_auxiliary("reconstruction"),
        create_auxiliary("denoising"),
    ]
    # Two blocks: the map keeps 4 x 4 places, from which a picture of 8 x 8 is rebuilt roughly.
    history = trained(dataset, recipes, 6, {"width": 16, "blocks": (1, 1)})
    first, last = history.epochs[0], history.epochs[-1]
    assert last["val/digit/accuracy"] > 0.7
    for name, share in (("rotation", 0.8), ("reconstruction", 0.9), ("denoising", 0.9)):
        assert last[f"train/{name}/loss"] < share * first[f"train/{name}/loss"]
    assert last["val/reconstruction/r2"] > 0.5
    # No validation row has a label of these: undefined, not a number.
    for key in ("val/rotation/accuracy", "val/denoising/rmse", "val/rotation/loss"):
        assert isinstance(last[key], Undefined)


def test_a_table(wine: Dataset) -> None:
    recipes = [
        create_auxiliary("predicting_inputs", columns=["ash", "alcohol"]),
        create_auxiliary("hints", of="proline", quantile=0.7),
        create_auxiliary("pseudo_tasks", copies=1),
        create_auxiliary("denoising", noise="gaussian", columns=["hue", "magnesium"]),
    ]
    last = trained(wine, recipes, 40).epochs[-1]
    assert last["val/target/accuracy"] > 0.85
    assert last["val/target_pseudo_1/accuracy"] > 0.85
    assert last["val/proline_hint/auroc"] > 0.9
    assert last["val/input_alcohol/r2"] > 0.1
    assert isinstance(last["val/denoising/r2"], Undefined)


def test_numbers_in_time() -> None:
    frame = load_diabetes(as_frame=True).frame
    frame["visit"] = np.arange(len(frame)) // 2
    frame["sex"] = np.where(frame["sex"] > 0, "f", "m")
    dataset = table_dataset(frame, ["target:regression"])
    recipes = [
        create_auxiliary("next_step", of="bmi", time="visit", group="sex", steps=1),
        create_auxiliary("nuisance", of="sex"),
        create_auxiliary("quantised", of="target"),
    ]
    dataset.inputs["numeric"][:, -1] = np.arange(len(frame))
    history = trained(dataset, recipes, 25, select="main:target")
    last = history.epochs[-1]
    assert last["val/target/r2"] > 0.25
    assert last["val/target_bins/accuracy"] > 0.35
    assert isinstance(last["val/next_bmi/rmse"], Undefined)


def test_without_validation_labels_every_rule_still_chooses(wine: Dataset) -> None:
    recipes = [create_auxiliary("denoising")]
    for select in ("mean_gain", "mean_rank", "loss", "main:target"):
        history = trained(wine, recipes, 2, select=select)
        assert history.best_epoch in (1, 2)


def test_registered_sets_have_recipes_that_fit() -> None:
    dataset = load_dataset("digits")
    for name in ("rotation", "reconstruction", "denoising"):
        (task,) = create_auxiliary(name).tasks(dataset)
        assert task.role == "auxiliary"
