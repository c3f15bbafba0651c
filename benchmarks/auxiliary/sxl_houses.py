"""House prices at places: a helper that predicts the local Moran's I of the training prices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from polytask import Dataset, Task, load_dataset
from polytask.auxiliary import construct, create_auxiliary
from polytask.data import Preprocessor, make_splits
from polytask.errors import PolytaskError
from polytask.spatial import fit_lambda, inverse_distance, kriging
from polytask.tabular.fitted import build_network

MAIN, HELPER = "log_price", "log_price_moran"
ROWS = {"train": 1000, "val": 500, "test": 2000}
LAMBDAS = (0.01, 0.1, 1.0)
LAGS: tuple[dict[str, Any], ...] = ({}, {"nlags": 20, "weight": True})
"""Ways of fitting the variogram: pykrige's own, and by finer lags with the short ones first."""
STARTS = len(LAMBDAS)
"""Networks without a helper get as many tries, from different first weights."""
TRAINING: dict[str, Any] = {
    "epochs": 60,
    "batch_size": 64,
    "lr": 3e-3,
    "patience": 15,
    "progress": False,
}


def houses(seed: int, split: str) -> Iterator[tuple[str, float | str]]:
    """Yield (method, test RMSE of the log price), or the reason why a method has none."""
    data, rows = _drawn(seed, split)
    places, price = data.coordinates, data.targets[MAIN].astype(np.float64)
    assert places is not None
    known = (places[rows["train"]], price[rows["train"]])
    ways: dict[str, list[Callable[[np.ndarray], np.ndarray]]] = {
        "inverse distances": [
            partial(inverse_distance, *known, power=power, neighbours=k)
            for power, k in product((1.0, 2.0, 3.0), (8, 16, 32))
        ],
        "ordinary kriging": [
            partial(kriging, *known, variogram=model, **words)
            for model, words in product(("spherical", "exponential", "linear"), LAGS)
        ],
    }
    for name, tries in ways.items():
        try:
            best = min(tries, key=lambda way: rmse(way(places[rows["val"]]), price[rows["val"]]))
            yield name, rmse(best(places[rows["test"]]), price[rows["test"]])
        except PolytaskError as error:
            yield name, str(error)
    only = {"numeric": np.stack([*places.T], axis=1).astype(np.float32)}
    for name, known_inputs in (("places", only), ("places and house", data.inputs)):
        part = replace(data, inputs=known_inputs)
        for helper in (False, True):
            words = f"MLP on {name}" + (" + Moran" if helper else "")
            try:
                yield words, _network(part, rows, seed, helper)
            except PolytaskError as error:
                yield words, str(error)


def _network(data: Dataset, rows: dict[str, np.ndarray], seed: int, helper: bool) -> float:
    """Test RMSE of the network that is best on validation: over λ, or over first weights."""
    recipes = [create_auxiliary("local_moran", loss="huber")] if helper else []
    data, train = construct(recipes, data, rows["train"], seed)
    tasks = {name: task.fitted(data.targets[name][train]) for name, task in data.tasks.items()}
    prepared = Preprocessor.fit(data, train)

    def part(name: str, *labels: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        inputs = prepared.transform({k: v[rows[name]] for k, v in data.inputs.items()})
        return inputs, {k: torch.from_numpy(data.targets[k][rows[name]]) for k in labels}

    def build() -> nn.Module:
        return build_network(
            prepared.spec, tasks, ("mlp", {"hidden": (128, 64)}), ("hard_sharing", {})
        )

    arguments = (build, tasks, part("train", *tasks), part("val", MAIN))
    if helper:
        best = fit_lambda(*arguments, lambdas=LAMBDAS, seed=seed, **TRAINING)
    else:
        starts = [
            fit_lambda(*arguments, lambdas=(0.0,), seed=seed + 1000 * start, **TRAINING)
            for start in range(STARTS)
        ]
        best = min(starts, key=lambda fit: next(iter(fit.scores.values())))
    return float(best.trainer.evaluate(part("test", MAIN))[f"test/{MAIN}/rmse"])


def _drawn(seed: int, split: str) -> tuple[Dataset, dict[str, np.ndarray]]:
    """A data set of so many rows for each part, with the log price alone."""
    whole = _houses()
    parts = make_splits(whole, split=split, seed=seed)
    rng = np.random.default_rng(seed)
    drawn = {name: rng.permutation(rows)[: ROWS[name]] for name, rows in parts.items()}
    data = whole.subset(np.concatenate(list(drawn.values())))
    ends = np.cumsum([len(rows) for rows in drawn.values()])[:-1]
    return data, dict(zip(drawn, np.split(np.arange(data.n), ends), strict=True))


@cache
def _houses() -> Dataset:
    whole = load_dataset("lucas")
    task: Task = whole.tasks[MAIN]
    return replace(whole, targets={MAIN: whole.targets[MAIN]}, tasks={MAIN: task})


def rmse(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - true) ** 2)))
