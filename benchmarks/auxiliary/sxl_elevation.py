"""Elevation of the Earth: filling in a coarse grid, and generating fields."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask import Dataset, Task, load_dataset
from polytask.auxiliary import construct, create_auxiliary
from polytask.errors import PolytaskError
from polytask.spatial import (
    SpatialGAN,
    fit_lambda,
    kriging,
    mmd2,
    nearest_neighbour_test,
    unit_range,
    upscale,
    upscaling_network,
)

MAIN = "elevation"
LAMBDAS = (0.01, 0.1, 1.0)
SIDE, SCALE = 32, 4
ROWS = {"train": 240, "val": 60}
TRAINING: dict[str, Any] = {
    "epochs": 60,
    "batch_size": 16,
    "lr": 1e-2,
    "patience": 12,
    "progress": False,
}
KRIGING: dict[str, dict[str, Any]] = {
    "kriging of each tile, linear variogram": {
        "variogram": "linear",
        "variogram_parameters": {"slope": 1.0, "nugget": 0.0},
    },
    "kriging of each tile, exponential variogram": {
        "variogram": "exponential",
        "nlags": 20,
        "weight": True,
    },
}
VARIANTS: dict[str, dict[str, Any]] = {
    "GAN": {"levels": 0},
    "GAN + Moran": {"levels": 1},
    "GAN + Moran at 3 levels": {"levels": 3},
    "GAN + Moran, learned weights": {"levels": 1, "weight": "uncertainty"},
}
GAN: dict[str, Any] = {"size": SIDE, "width": 16}
EPOCHS = 12


def interpolated() -> Iterator[tuple[str, float | str]]:
    """Yield (method, test RMSE in metres) of what needs no training."""
    _, test = tiles()
    coarse = test[:, None, ::SCALE, ::SCALE]
    for mode in ("bilinear", "bicubic", "spline"):
        yield f"{mode} on the grid", error(upscale(coarse, SCALE, mode)[:, 0], test)
    cells = np.stack(np.meshgrid(*[np.arange(SIDE)] * 2, indexing="ij"), axis=-1).astype(float)
    known, wanted = cells[::SCALE, ::SCALE].reshape(-1, 2), cells.reshape(-1, 2)
    for name, words in KRIGING.items():
        try:
            answers = [
                kriging(known, tile[::SCALE, ::SCALE].numpy().ravel(), wanted, **words)
                for tile in test.double()
            ]
            filled = torch.from_numpy(np.stack(answers)).reshape(test.shape).float()
            yield name, error(filled, test)
        except PolytaskError as why:
            yield name, str(why)


def filled_in(seed: int, unit: str) -> Iterator[tuple[str, float | str]]:
    """Yield (network, test RMSE in metres), or the reason why it has none.

    `unit` of a tile's heights is 'tile' (its own deviation) or 'common' (one for all tiles).
    """
    train, test = tiles()
    drawn = np.random.default_rng(seed).permutation(len(train))[: ROWS["val"] + ROWS["train"]]
    both = torch.cat([train[torch.from_numpy(drawn)], test])
    coarse = both[:, ::SCALE, ::SCALE]
    # Of the known cells, so of nothing that is asked for. Nearly flat tiles share a unit: their
    # few cells may all be level, and errors in such a unit would outweigh all others.
    mean, sd = coarse.mean((1, 2), keepdim=True), coarse.std((1, 2), keepdim=True)
    sd = sd.clamp(min=float(sd[: len(drawn)].median()))
    if unit == "common":
        sd = (coarse - mean)[: len(drawn)].std().expand_as(sd)
    y = (both - mean) / sd
    x = y[:, None, ::SCALE, ::SCALE]
    cut, end = ROWS["val"], ROWS["val"] + ROWS["train"]
    parts = {"val": slice(cut), "train": slice(cut, end), "test": slice(end, None)}
    for name, levels in (("CNN", 0), ("CNN + Moran", 1), ("CNN + Moran at 3 levels", 3)):
        task = Task(MAIN, "regression", metrics=("rmse",))
        dataset = Dataset("elevation", {"image": x.numpy()}, {MAIN: y.numpy()}, {MAIN: task})
        words = {"levels": levels, "normalize": "minmax"}
        recipes = [create_auxiliary("multiresolution_moran", **words)] if levels else []
        rows = np.arange(both.shape[0])[parts["train"]]
        dataset, _ = construct(recipes, dataset, rows, seed)
        targets = {k: torch.from_numpy(v) for k, v in dataset.targets.items()}
        tasks = {k: t.fitted(targets[k][rows]) for k, t in dataset.tasks.items()}
        helpers = {f"{MAIN}_moran_{level}": level for level in range(levels)}
        try:
            yield name, _network(x, targets, tasks, helpers, parts, seed, (mean, sd), test)
        except PolytaskError as why:
            yield name, str(why)


def _network(
    x: Tensor,
    targets: dict[str, Tensor],
    tasks: dict[str, Task],
    helpers: dict[str, int],
    parts: dict[str, slice],
    seed: int,
    units: tuple[Tensor, Tensor],
    test: Tensor,
) -> float:
    """Test RMSE of the network that is best on validation: over λ, or over first weights."""

    def part(name: str, *labels: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {"image": x[parts[name]]}, {k: targets[k][parts[name]] for k in labels}

    arguments = (
        lambda: upscaling_network(tasks, helpers, scale=SCALE),
        tasks,
        part("train", *tasks),
        part("val", MAIN),
    )
    if helpers:
        best = fit_lambda(*arguments, lambdas=LAMBDAS, seed=seed, **TRAINING)
    else:
        starts = [
            fit_lambda(*arguments, lambdas=(0.0,), seed=seed + 1000 * start, **TRAINING)
            for start in range(len(LAMBDAS))
        ]
        best = min(starts, key=lambda fit: next(iter(fit.scores.values())))
    scaled = best.trainer.predict(part("test"))[MAIN]
    mean, sd = (unit[parts["test"]] for unit in units)
    return error(scaled * sd + mean, test)


def generated(seed: int) -> Iterator[tuple[str, tuple[float, float] | str]]:
    """Yield (variant, (MMD² to the test fields, error of 1 nearest neighbour)) of one seed."""
    train, test = (unit_range(part[:, None]) for part in tiles())
    rng = np.random.default_rng(seed)
    real = train[torch.from_numpy(rng.permutation(len(train)))][: len(test)]
    yield "real training fields", _apart(test, real, seed)
    for name, options in VARIANTS.items():
        gan = SpatialGAN(**GAN, **options, seed=seed)
        try:
            gan.fit(train, epochs=EPOCHS, progress=False)
            yield name, _apart(test, gan.sample(len(test), seed), seed)
        except PolytaskError as why:
            yield name, str(why)


def _apart(real: Tensor, other: Tensor, seed: int) -> tuple[float, float]:
    return mmd2(real, other, "median"), nearest_neighbour_test(real, other, seed)


@cache
def tiles() -> tuple[Tensor, Tensor]:
    """Training and test tiles [n, 32, 32] in metres that are all land and not flat."""
    whole = load_dataset("earth_dense")
    assert whole.fixed_split is not None
    found = []
    for name in ("train", "test"):
        maps = torch.from_numpy(whole.targets[MAIN][whole.fixed_split[name]])
        cuts = maps.unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE).reshape(-1, SIDE, SIDE)
        land = cuts[~cuts.isnan().flatten(1).any(1)]
        found.append(land[land.flatten(1).std(1) > 1].contiguous())
    return found[0], found[1]


def error(found: Tensor, true: Tensor) -> float:
    """RMSE in metres."""
    return float((found - true).square().mean().sqrt())
