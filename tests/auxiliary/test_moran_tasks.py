"""Helper tasks of Moran's I: made from real places and maps, of training labels alone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from connection import needs_connection

from polytask.auxiliary import (
    construct,
    create_auxiliary,
    knn_weights,
    list_auxiliaries,
    local_moran,
    multiresolution_moran,
)
from polytask.auxiliary.construction import _maps
from polytask.data import Dataset, load_dataset, make_splits
from polytask.errors import UserError
from polytask.tasks import Task


@pytest.fixture(scope="module")
def soil() -> Dataset:
    with needs_connection():
        return load_dataset("jura")


@pytest.fixture
def terrain() -> Dataset:
    """20 height maps of 12 x 10, smooth, one flat; every third with cells missing."""
    rng = np.random.default_rng(0)
    heights = rng.normal(size=(20, 12, 10)).cumsum(axis=1).cumsum(axis=2)
    heights[3] = 7.5
    heights[::3, :5, 2] = np.nan
    image = rng.normal(size=(20, 1, 12, 10))
    tasks = {
        "height": Task("height", "regression"),
        "land": Task("land", "binary"),
        "slope": Task("slope", "regression", size=2),
    }
    targets = {
        "height": heights,
        "land": (heights > 0).astype(int),
        "slope": rng.normal(size=(20, 2, 12, 10)),
    }
    return Dataset("terrain", {"image": image}, targets, tasks)


def test_they_are_listed() -> None:
    assert {"local_moran", "multiresolution_moran"} <= set(list_auxiliaries("*moran"))


def test_places_of_the_training_part(soil: Dataset) -> None:
    train = make_splits(soil, seed=1)["train"]
    recipe = create_auxiliary("local_moran", of="Co", k=6)
    extended, rows = construct([recipe], soil, train)
    np.testing.assert_array_equal(rows, train)
    found = extended.targets["Co_moran"]
    assert extended.tasks["Co_moran"].role == "auxiliary"
    rest = np.setdiff1d(np.arange(soil.n), train)
    assert np.isnan(found[rest]).all()
    # By hand: the mean of the six nearest training places.
    assert soil.coordinates is not None
    places, labels = soil.coordinates[train], soil.targets["Co"][train].astype(float)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(apart, np.inf)
    z = labels - labels.mean()
    lag = z[np.argsort(apart, axis=1)[:, :6]].mean(axis=1)
    wanted = (len(z) - 1) * z * lag / (z**2).sum()
    # Some places have two sixth neighbours at one distance; either will do.
    ordered = np.sort(apart, axis=1)
    clear = ordered[:, 6] - ordered[:, 5] > 1e-9
    assert clear.mean() > 0.9
    np.testing.assert_allclose(found[train][clear], wanted[clear], rtol=1e-4, atol=1e-5)
    # Cobalt follows the rock below: neighbours agree.
    assert found[train].mean() > 0.3


def test_no_label_of_another_row_leaks(soil: Dataset) -> None:
    train = make_splits(soil, seed=2)["train"]
    recipe = create_auxiliary("local_moran", of="Ni")
    before = recipe.extend(soil, train).targets["Ni_moran"]
    other = soil.subset(np.arange(soil.n))
    rest = np.setdiff1d(np.arange(soil.n), train)
    other.targets["Ni"][rest] = np.random.default_rng(0).normal(size=len(rest)) * 1e6
    assert other.coordinates is not None
    other.coordinates[rest] = other.coordinates[train[0]]
    np.testing.assert_array_equal(before, recipe.extend(other, train).targets["Ni_moran"])


def test_a_training_row_without_label_is_nobodys_neighbour(soil: Dataset) -> None:
    part = soil.subset(np.arange(60))
    part.targets["Zn"][[4, 9]] = np.nan
    found = create_auxiliary("local_moran", of="Zn", k=3).extend(part, np.arange(50))
    values = found.targets["Zn_moran"]
    assert np.isnan(values[[4, 9, 50, 59]]).all()
    known = np.setdiff1d(np.arange(50), [4, 9])
    assert part.coordinates is not None
    labels = torch.from_numpy(part.targets["Zn"][known]).double()[None, None]
    wanted = local_moran(labels, knn_weights(part.coordinates[known], 3))
    np.testing.assert_allclose(values[known], wanted[0, 0], rtol=1e-6)
    scaled = create_auxiliary("local_moran", of="Zn", k=3, normalize="minmax")
    again = scaled.extend(part, np.arange(50)).targets["Zn_moran"][known]
    assert (again.min(), again.max()) == (-1, 1)


def test_maps_follow_from_their_own_row(terrain: Dataset) -> None:
    train = np.arange(10)
    recipe = create_auxiliary("local_moran", of="height")
    extended, _ = construct([recipe], terrain, train)
    found = extended.targets["height_moran"]
    height = terrain.targets["height"]
    assert found.shape == height.shape
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(height))
    wanted = local_moran(torch.from_numpy(height[1:2])[None].double())[0]
    np.testing.assert_allclose(found[1:2], wanted, rtol=1e-5, atol=1e-6)
    assert not np.nan_to_num(found[3]).any()
    # Another row's labels change nothing, also those of a training row.
    terrain.targets["height"][5] += np.arange(10)
    again = recipe.extend(terrain, train).targets["height_moran"]
    others = np.arange(20) != 5
    np.testing.assert_array_equal(again[others], found[others])
    assert extended.tasks["height_moran"].fitted(found[train]).places == (12, 10)


def test_levels_are_tasks(terrain: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = create_auxiliary("multiresolution_moran", levels=3, weights="rook")
    extended, _ = construct([recipe], terrain, np.arange(10))
    names = ["height_moran_0", "height_moran_1", "height_moran_2"]
    assert list(extended.tasks)[3:] == names
    height = torch.from_numpy(terrain.targets["height"]).double()[:, None]
    there = height.isfinite()
    wanted = multiresolution_moran(height, 3, "rook", present=there).masked_fill(~there, torch.nan)
    for level, name in enumerate(names):
        np.testing.assert_allclose(extended.targets[name], wanted[:, level], rtol=1e-5, atol=1e-6)
    zero = create_auxiliary("local_moran", of="height", weights="rook").extend(terrain, rows())
    np.testing.assert_array_equal(zero.targets["height_moran"], extended.targets[names[0]])
    # A few maps at a time give the same.
    monkeypatch.setattr(_maps, "CELLS", 250)
    parts = recipe.extend(terrain, rows()).targets
    for name in names:
        np.testing.assert_array_equal(parts[name], extended.targets[name])


def rows() -> np.ndarray:
    return np.arange(10)


def test_elevation_of_the_earth() -> None:
    with needs_connection():
        earth = load_dataset("earth_dense").subset(np.arange(0, 643, 20))
    recipes = [
        create_auxiliary("local_moran", of="elevation", loss="huber"),
        create_auxiliary("multiresolution_moran", normalize="minmax", name="relief"),
    ]
    extended, _ = construct(recipes, earth, make_splits(earth)["train"])
    found = extended.targets["elevation_moran"]
    assert extended.tasks["elevation_moran"].loss_function == "huber"
    sea = np.isnan(earth.targets["elevation"])
    assert 0.05 < sea.mean() < 0.5
    np.testing.assert_array_equal(np.isnan(found), sea)
    # Heights are smooth: nearly every cell lies on its neighbours' side of the mean.
    assert (found[~sea] > 0).mean() > 0.9
    for level in range(3):
        relief = extended.targets[f"relief_{level}"]
        np.testing.assert_array_equal(np.isnan(relief), sea)
        assert np.nanmin(relief) >= -1
        assert np.nanmax(relief) <= 1


def test_saved_with_its_targets(terrain: Dataset, tmp_path: Path) -> None:
    recipes = [create_auxiliary("multiresolution_moran", levels=2)]
    extended, _ = construct(recipes, terrain, rows())
    extended.save(tmp_path / "kept")
    loaded = Dataset.load(tmp_path / "kept")
    np.testing.assert_array_equal(
        loaded.targets["height_moran_1"], extended.targets["height_moran_1"]
    )
    assert loaded.coordinates is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("local_moran", {"k": 0}, "k should be at least 1, found 0"),
        ("local_moran", {"weights": "quen"}, "did you mean 'queen'"),
        ("local_moran", {"loss": "hubert"}, "did you mean 'huber'"),
        ("local_moran", {"of": "hight"}, "did you mean 'height'"),
        ("local_moran", {"of": "slope"}, "slope"),
        ("multiresolution_moran", {"levels": 0}, "at least 1, found 0"),
        ("multiresolution_moran", {"levels": 5}, "levels=5 for fields of 12 x 10"),
        ("multiresolution_moran", {"standardize": "rows"}, "did you mean 'row'"),
        ("multiresolution_moran", {"level": 2}, "did you mean 'levels'"),
    ],
)
def test_recipes_that_do_not_fit(
    terrain: Dataset, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        create_auxiliary(name, **options).tasks(terrain)


def test_tables_that_do_not_fit(soil: Dataset) -> None:
    with pytest.raises(UserError, match=r"7 that could be meant \(Cd, Co"):
        create_auxiliary("local_moran").tasks(soil)
    with pytest.raises(UserError, match="with a map a row, found none in 'jura'"):
        create_auxiliary("multiresolution_moran").tasks(soil)
    with pytest.raises(UserError, match="8 training rows have a label; expected more"):
        create_auxiliary("local_moran", of="Co").extend(soil, np.arange(8))
    nowhere = soil.subset(np.arange(40))
    nowhere.coordinates = None
    with pytest.raises(UserError, match=r"does not say where its rows are; .*spatial:X,Y"):
        create_auxiliary("local_moran", of="Co").tasks(nowhere)


def test_scikit_learn_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.neighbors", None)
    with pytest.raises(ImportError, match=r"polytask\[app\]"):
        knn_weights(np.eye(2), 1)
