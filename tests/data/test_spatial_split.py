"""Coordinates of rows, and splits that keep squares of the map together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from connection import needs_connection
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from polytask.cli._checks import check
from polytask.cli._config import Settings
from polytask.data import Dataset, load_dataset, make_splits, table_dataset, with_test_file
from polytask.data._blocks import square_blocks
from polytask.errors import UserError
from polytask.study.facts import fingerprint
from polytask.study.source import open_data
from polytask.tasks import Task

PARTS = ("train", "val", "test")


def dataset(places: np.ndarray | None, n: int = 200, **options: object) -> Dataset:
    rng = np.random.default_rng(3)
    return Dataset(
        name="t",
        inputs={"numeric": rng.normal(size=(n, 1))},
        targets={"y": rng.normal(size=n)},
        tasks={"y": Task("y", "regression")},
        coordinates=places,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture
def houses() -> pd.DataFrame:
    """300 houses on 40 x 20 km, in metres as a map has them; prices rise to the east."""
    rng = np.random.default_rng(0)
    east, north = rng.uniform(500_000, 540_000, 300), rng.uniform(4_600_000, 4_620_000, 300)
    frame = pd.DataFrame({"east": east, "north": north, "rooms": rng.integers(1, 9, 300)})
    return frame.assign(price=frame["rooms"] * 1e4 + (east - 500_000) + rng.normal(size=300))


def check_blocks(parts: dict[str, np.ndarray], blocks: np.ndarray) -> None:
    together = np.concatenate([parts[p] for p in PARTS])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(blocks)))
    seen = [set(blocks[parts[p]].tolist()) for p in PARTS]
    assert all(seen)
    assert sum(map(len, seen)) == len(set.union(*seen)) == len(np.unique(blocks))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 2.5), st.floats(-1e5, 1e5))
def test_a_square_is_wholly_in_one_part(seed: int, side: float, origin: float) -> None:
    places = np.random.default_rng(seed).uniform(0, 10, (200, 2)) + origin
    data = dataset(places)
    parts = make_splits(data, split=f"spatial:{side}", seed=seed)
    blocks = square_blocks(places, side)
    check_blocks(parts, blocks)
    for block in np.unique(blocks):
        assert (np.ptp(places[blocks == block], axis=0) <= side * (1 + 1e-9)).all()
    # Two places in one square are in one block: the lower left corners are multiples of the side.
    corners = np.floor(places / side)
    assert len(np.unique(corners, axis=0)) == len(np.unique(blocks))
    again = make_splits(data, split=f"spatial:{side}", seed=seed)
    for part in PARTS:
        np.testing.assert_array_equal(parts[part], again[part])


def test_the_default_is_a_tenth_of_the_longer_side() -> None:
    rng = np.random.default_rng(0)
    places = np.stack([rng.uniform(0, 100, 2000), rng.uniform(0, 50, 2000)], axis=1)
    places[0], places[1] = (0, 0), (100, 50)
    data = dataset(places, 2000)
    parts = make_splits(data, split="spatial")
    check_blocks(parts, square_blocks(places, 10.0))
    assert all(0.1 < len(parts[p]) / 2000 < 0.2 for p in ("val", "test"))
    other = make_splits(data, split="spatial", seed=1)
    assert not np.array_equal(parts["test"], other["test"])
    # Test places are apart: a random split leaves a training place next door to each.
    apart = cKDTree(places[parts["train"]]).query(places[parts["test"]])[0]
    drawn = make_splits(data)
    near = cKDTree(places[drawn["train"]]).query(places[drawn["test"]])[0]
    assert np.median(apart) > 2 * np.median(near)


def test_columns_of_a_table(houses: pd.DataFrame) -> None:
    data = open_data(houses, targets=["price"], split="spatial:east,north:5000")
    places = houses[["east", "north"]].to_numpy()
    np.testing.assert_array_equal(data.coordinates, places)
    assert data.columns["coordinates"] == ["east", "north"]
    assert data.columns["numeric"] == ["east", "north", "rooms"]
    assert "east, north: coordinates" in " ".join(data.notes)
    blocks = square_blocks(places, 5000)
    parts = make_splits(data, split="spatial:east,north:5000")
    check_blocks(parts, blocks)
    short = make_splits(data, split="spatial:5000")
    for part in PARTS:
        np.testing.assert_array_equal(parts[part], short[part])
    # They need not be inputs.
    apart = open_data(
        houses, targets=["price"], drop=["east", "north"], split="spatial:east,north:5000"
    )
    assert apart.columns["numeric"] == ["rooms"]
    np.testing.assert_array_equal(apart.coordinates, places)
    # Columns of a data set that names none serve as well.
    plain = table_dataset(houses, ["price"])
    assert plain.coordinates is None
    assert plain.inputs["numeric"].dtype == np.float32
    rounded = square_blocks(places.astype(np.float32).astype(float), 5000)
    check_blocks(make_splits(plain, split="spatial:east,north:5000"), rounded)


def test_a_test_table_has_its_own_places(houses: pd.DataFrame) -> None:
    west = houses[houses["east"] < 530_000]
    rest = houses[houses["east"] >= 530_000]
    data = with_test_file(west, rest, ["price"], coordinates=["east", "north"])
    both = pd.concat([west, rest])[["east", "north"]].to_numpy()
    np.testing.assert_array_equal(data.coordinates, both)
    parts = make_splits(data, split="spatial:5000")
    np.testing.assert_array_equal(parts["test"], np.arange(len(west), 300))
    check_blocks(parts, square_blocks(both, 5000))
    with pytest.raises(UserError, match=r"blocks? (is|are) in both .* spatial split .*spatial:SI"):
        make_splits(data, split="spatial:7000")


def test_kept_by_subset_and_files(tmp_path: Path) -> None:
    places = np.random.default_rng(0).uniform(size=(200, 2))
    data = dataset(places)
    rows = np.asarray([3, 1, 150])
    np.testing.assert_array_equal(data.subset(rows).coordinates, places[rows])
    data.save(tmp_path / "kept")
    loaded = Dataset.load(tmp_path / "kept")
    np.testing.assert_array_equal(loaded.coordinates, places)
    assert fingerprint(loaded) == fingerprint(data)
    assert fingerprint(dataset(places + 1)) != fingerprint(data)
    assert dataset(np.zeros((200, 2), int)).coordinates.dtype == np.float64  # type: ignore[union-attr]


def test_real_maps(public: Callable[..., Dataset]) -> None:
    soil = public("jura")
    assert soil.coordinates is not None
    check_blocks(make_splits(soil, split="spatial:0.5"), square_blocks(soil.coordinates, 0.5))


def test_squares_of_the_earth_and_of_lucas() -> None:
    with needs_connection():
        earth, county = load_dataset("earth_dense"), load_dataset("lucas")
    assert earth.coordinates is not None
    parts = make_splits(earth, split="spatial:256")
    blocks = square_blocks(earth.coordinates, 256)
    check_blocks(parts, blocks)
    assert earth.fixed_split is not None
    np.testing.assert_array_equal(parts["test"], earth.fixed_split["test"])
    # Relief falls and rises alike in tiles that touch.
    mean = np.nanmean(earth.targets["elevation"], axis=(1, 2))
    near = cKDTree(earth.coordinates).query(earth.coordinates, 2)[1][:, 1]
    assert np.corrcoef(mean, mean[near])[0, 1] > 0.6
    # The blocks that lucas has as groups are those of a spatial split.
    assert county.coordinates is not None
    for split in ("group:block", "spatial:3000"):
        check_blocks(make_splits(county, split=split), square_blocks(county.coordinates, 3000))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("spatial", "has no coordinates. Name two columns, as in spatial:X,Y; there are: east"),
        ("spatial:5", "has no coordinates"),
        ("spatial:east", "found 'spatial:east'"),
        ("spatial:east,north,up", "the names of two columns"),
        ("spatial:east,north:-1", "a number above 0"),
        ("spatial:east,north:inf", "a number above 0"),
        ("spatial:5:6", "found 'spatial:5:6'"),
        ("spatial:east,nort", "column for a spatial split: 'nort'; did you mean 'north'"),
        ("spatial:east,north:1e9", "a block for every part; .* belong to 1 block. Use another s"),
        ("spatal", "did you mean 'spatial'"),
    ],
)
def test_splits_that_cannot_be(houses: pd.DataFrame, split: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_splits(table_dataset(houses, ["price"]), split=split)


def test_columns_that_are_no_places(houses: pd.DataFrame) -> None:
    gap = houses.assign(north=houses["north"].where(houses.index > 2))
    words = houses.assign(north="up")
    for frame, split, message in (
        (gap, "spatial:east,north", "coordinate column 'north' has 3 missing values"),
        (words, "spatial:east,north", "'north' holds .*; expected numbers"),
        (houses, "spatial:east,south", "unknown column in coordinates: 'south'"),
        (houses, "spatial:east,price", "'price' is a target; it cannot be in coordinates too"),
        (houses, "spatial:east,east", "two columns, east and north"),
    ):
        with pytest.raises(UserError, match=message):
            open_data(frame, targets=["price"], split=split)
    plain = table_dataset(gap, ["price"])
    with pytest.raises(UserError, match="missing or infinite in 3 rows"):
        make_splits(plain, split="spatial:east,north")


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (np.zeros((200, 3)), r"shape \(200, 3\); expected two numbers a row"),
        (np.zeros(200), "two numbers a row"),
        (np.full((200, 2), "a"), "two numbers a row"),
        (np.full((200, 2), np.nan), "missing or infinite in 200 rows"),
        (np.zeros((9, 2)), "'coordinates' has 9 rows, expected 200"),
    ],
)
def test_coordinates_that_are_none(places: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataset(places)


def test_the_command_knows_the_word() -> None:
    for split in ("spatial", "spatial:x,y", "spatial:x,y:3000"):
        assert check(Settings({"split": split}, {}))["split"] == split
    with pytest.raises(UserError, match="did you mean 'spatial'"):
        check(Settings({"split": "spacial"}, {}))
