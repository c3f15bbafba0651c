"""Recipes put together: targets, new rows, names; the first recipe, bins of a target."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.auxiliary import Addition, Construction, construct, create_auxiliary, list_auxiliaries
from polytask.data import Dataset, make_splits
from polytask.errors import UserError
from polytask.tasks import Task


class Doubled(Construction):
    """Adds the training rows once more, with inputs of the opposite sign."""

    def __init__(self, name: str = "flipped") -> None:
        self.name = name

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        return (Task(self.name, "binary", role="auxiliary"),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        codes = np.full(dataset.n + len(train), -100)
        codes[train], codes[dataset.n :] = 0, 1
        return Addition({self.name: codes}, {"numeric": -dataset.inputs["numeric"][train]})


@pytest.fixture
def houses() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5], np.float32)
    y[7] = np.nan
    tasks = {"price": Task("price", "regression")}
    return Dataset("houses", {"numeric": x}, {"price": y}, tasks, groups=np.arange(60) % 5)


def test_recipes_are_listed() -> None:
    assert "quantised" in list_auxiliaries()


def test_two_recipes_with_new_rows(houses: Dataset) -> None:
    train = make_splits(houses, seed=0)["train"]
    recipes = [Doubled(), create_auxiliary("quantised", bins=3), Doubled("again")]
    extended, rows = construct(recipes, houses, train)
    n, m = houses.n, len(train)
    assert extended.n == n + 2 * m
    assert rows.tolist() == [*train, *range(n, n + 2 * m)]
    assert list(extended.tasks) == ["price", "flipped", "price_bins", "again"]
    first, second = slice(n, n + m), slice(n + m, n + 2 * m)
    assert (extended.targets["flipped"][first] == 1).all()
    assert (extended.targets["flipped"][second] == -100).all()
    assert (extended.targets["again"][second] == 1).all()
    assert np.isnan(extended.targets["price"][n:]).all()
    assert (extended.targets["price_bins"][n:] == -100).all()
    np.testing.assert_array_equal(
        extended.inputs["numeric"][second], -houses.inputs["numeric"][train]
    )
    # What was there is untouched.
    np.testing.assert_array_equal(extended.targets["price"][:n], houses.targets["price"])


def test_bins_come_from_training_rows(houses: Dataset) -> None:
    train = np.arange(30)
    recipe = create_auxiliary("quantised", bins=3)
    before = recipe.extend(houses, train).targets["price_bins"]
    counts = np.bincount(before[train][before[train] >= 0])
    assert counts.max() - counts.min() <= 1
    assert before[7] == -100
    houses.targets["price"][30:] *= 100
    after = recipe.extend(houses, train).targets["price_bins"]
    np.testing.assert_array_equal(before[train], after[train])
    assert set(after[30:]) <= {0, 1, 2}
    assert (np.bincount(after[30:])[[0, 2]] > 9).all()


def test_what_cannot_be_cut(houses: Dataset) -> None:
    with pytest.raises(UserError, match="at least 2, found 1"):
        create_auxiliary("quantised", bins=1)
    with pytest.raises(UserError, match=r"prize.*price"):
        create_auxiliary("quantised", of="prize").tasks(houses)
    with pytest.raises(UserError, match="Take fewer bins"):
        create_auxiliary("quantised", bins=50).extend(houses, np.arange(20))


def test_a_name_twice(houses: Dataset) -> None:
    with pytest.raises(UserError, match="'price'"):
        construct([Doubled("price")], houses, np.arange(9))
    with pytest.raises(UserError, match="'flipped'"):
        construct([Doubled(), Doubled()], houses, np.arange(9))


def test_new_rows_need_every_input(houses: Dataset) -> None:
    houses.inputs["categorical"] = np.zeros((60, 1), np.int64)
    with pytest.raises(UserError, match="expected all of"):
        construct([Doubled()], houses, np.arange(9))
