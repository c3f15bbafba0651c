"""Helpers made of pictures: exact targets and rows, nothing learned from held-out rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polytask.auxiliary import construct, create_auxiliary
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.tasks import Task


@pytest.fixture
def pictures() -> Dataset:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(20, 2, 3, 3)).astype(np.float32)
    tasks = {"cat": Task("cat", "binary")}
    return Dataset("pictures", {"image": image}, {"cat": rng.integers(0, 2, 20)}, tasks)


TRAIN = np.arange(4, 16)
RECIPES: list[tuple[str, dict[str, Any]]] = [
    ("rotation", {"share": 0.5}),
    ("reconstruction", {}),
    ("denoising", {"noise": "gaussian", "strength": 0.5}),
    ("denoising", {"noise": "masked", "copies": 2}),
]


@pytest.mark.parametrize(("name", "options"), RECIPES)
def test_held_out_rows_change_nothing_of_training(
    pictures: Dataset, name: str, options: dict[str, Any]
) -> None:
    recipe = create_auxiliary(name, **options)
    before, rows = construct([recipe], pictures, TRAIN, seed=3)
    held_out = np.setdiff1d(np.arange(pictures.n), TRAIN)
    pictures.inputs["image"][held_out] = 1e3
    after, again = construct([recipe], pictures, TRAIN, seed=3)
    np.testing.assert_array_equal(rows, again)
    np.testing.assert_array_equal(before.targets[name][rows], after.targets[name][rows])
    np.testing.assert_array_equal(before.inputs["image"][rows], after.inputs["image"][rows])


@pytest.mark.parametrize(("name", "options"), RECIPES)
def test_the_seed_decides(pictures: Dataset, name: str, options: dict[str, Any]) -> None:
    recipe = create_auxiliary(name, **options)
    one, rows = construct([recipe], pictures, TRAIN, seed=1)
    same, _ = construct([recipe], pictures, TRAIN, seed=1)
    other, _ = construct([recipe], pictures, TRAIN, seed=2)
    np.testing.assert_array_equal(one.inputs["image"], same.inputs["image"])
    np.testing.assert_array_equal(one.targets[name], same.targets[name])
    drawn = len(rows) > len(TRAIN)
    assert (one.inputs["image"] != other.inputs["image"]).any() == drawn


def test_rotated_copies(pictures: Dataset) -> None:
    extended, rows = construct([create_auxiliary("rotation")], pictures, TRAIN, seed=0)
    assert len(rows) == 4 * len(TRAIN)
    codes = extended.targets["rotation"]
    assert (codes[TRAIN] == 0).all()
    assert (codes[[0, 1, 2, 3, 16, 17, 18, 19]] == -100).all()
    assert np.bincount(codes[rows]).tolist() == [12, 12, 12, 12]
    assert (extended.targets["cat"][pictures.n :] == -100).all()
    originals = pictures.inputs["image"][TRAIN]
    for row in rows[len(TRAIN) :]:
        # Turned back by its label every copy is a training picture.
        back = np.rot90(extended.inputs["image"][row], -int(codes[row]), axes=(1, 2))
        assert (back == originals).all(axis=(1, 2, 3)).sum() == 1
    # By hand: a quarter turn counter-clockwise puts the right column on top.
    first = extended.inputs["image"][pictures.n]
    top = first[:, 0, :]
    assert (top == originals[:, :, :, 2]).all(axis=(1, 2)).any()


def test_a_part_is_rotated(pictures: Dataset) -> None:
    extended, rows = construct([create_auxiliary("rotation", share=0.25)], pictures, TRAIN)
    assert len(rows) == len(TRAIN) + 9
    assert np.bincount(extended.targets["rotation"][rows]).tolist() == [12, 3, 3, 3]


def test_pictures_are_rebuilt_at_every_place(pictures: Dataset) -> None:
    pictures.inputs["image"][5, 0, 1, 1] = np.nan
    recipe = create_auxiliary("reconstruction")
    extended, rows = construct([recipe], pictures, TRAIN)
    assert rows.tolist() == TRAIN.tolist()
    target = extended.targets["reconstruction"]
    np.testing.assert_array_equal(target, pictures.inputs["image"])
    task = extended.tasks["reconstruction"].fitted(target[TRAIN])
    assert (task.output_size, task.places, task.role) == (2, (3, 3), "auxiliary")
    np.testing.assert_allclose(task.mean, np.nanmean(target[TRAIN], axis=(0, 2, 3)), rtol=1e-6)


def test_masked_places_are_the_training_mean(pictures: Dataset) -> None:
    recipe = create_auxiliary("denoising", strength=0.4, copies=2)
    extended, rows = construct([recipe], pictures, TRAIN)
    clean = pictures.inputs["image"][TRAIN]
    corrupted = extended.inputs["image"][pictures.n :]
    assert len(rows) == 3 * len(TRAIN)
    target = extended.targets["denoising"]
    assert np.isnan(target[: pictures.n]).all()
    np.testing.assert_array_equal(target[pictures.n :], np.concatenate([clean, clean]))
    changed = corrupted != np.concatenate([clean, clean])
    # All channels at a place go together.
    np.testing.assert_array_equal(changed[:, 0], changed[:, 1])
    assert 0.2 < changed.mean() < 0.6
    mean = np.broadcast_to(clean.mean(axis=(0, 2, 3), keepdims=True), corrupted.shape)
    np.testing.assert_allclose(corrupted[changed], mean[changed], rtol=1e-6)


def test_noise_has_the_deviation_asked_for() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(400, 1, 8, 8)).astype(np.float32) * 3
    dataset = Dataset("big", {"image": image}, {"y": image[:, 0, 0, 0]}, {"y": _regression("y")})
    recipe = create_auxiliary("denoising", noise="gaussian", strength=0.5)
    extended, _ = construct([recipe], dataset, np.arange(300))
    noise = extended.inputs["image"][400:] - image[:300]
    assert noise.std() == pytest.approx(1.5, rel=0.02)
    assert abs(noise.mean()) < 0.05


def test_what_pictures_cannot_do(pictures: Dataset) -> None:
    oblong = Dataset(
        "oblong",
        {"image": np.zeros((4, 1, 3, 2))},
        {"cat": np.array([0, 1, 0, 1])},
        {"cat": Task("cat", "binary")},
    )
    with pytest.raises(UserError, match=r"square images, found images of 3 x 2"):
        create_auxiliary("rotation").tasks(oblong)
    with pytest.raises(UserError, match="above 0 and at most 1"):
        create_auxiliary("rotation", share=1.5)
    with pytest.raises(UserError, match="for tables"):
        create_auxiliary("reconstruction", columns=["a"]).tasks(pictures)
    with pytest.raises(UserError, match="above 0 and below 1"):
        create_auxiliary("denoising", strength=1.0)
    with pytest.raises(UserError, match="copies should be at least 1"):
        create_auxiliary("denoising", copies=0)
    with pytest.raises(UserError, match="masked"):
        create_auxiliary("denoising", noise="mask")


def _regression(name: str) -> Task:
    return Task(name, "regression")
