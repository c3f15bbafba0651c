"""The Earth in tiles: counts, known places, unit normals, what can be learned."""

from pathlib import Path

import numpy as np
import pytest
from connection import needs_connection
from sklearn.linear_model import LogisticRegression

from polytask.data import Dataset, dataset_card, load_dataset, make_splits
from polytask.data.parsed import parsed
from polytask.data.sets._earth_maps import build, normals
from polytask.data.sets.earth_dense import CARD, VERSION, _tiles
from polytask.errors import UserError

MISSING = -100


@pytest.fixture(scope="module")
def earth() -> Dataset:
    """66 MB are fetched the first time."""
    with needs_connection():
        return load_dataset("earth_dense")


@pytest.fixture(scope="module")
def numbers(earth: Dataset) -> np.ndarray:
    """Which of the 28 x 67 tiles were kept, found from the maps themselves."""
    maps = parsed(CARD, VERSION, build)
    land = (maps["land_cover"] > 0) | (maps["climate"] > 0)
    kept = [
        i * 67 + j
        for i in range(28)
        for j in range(67)
        if land[i * 64 : i * 64 + 64, j * 64 : j * 64 + 64].mean() > 0.25
    ]
    assert len(kept) == earth.n
    return np.array(kept)


def at(
    data: Dataset, numbers: np.ndarray, latitude: float, longitude: float
) -> dict[str, np.ndarray]:
    """The labels of the pixel at a place."""
    row, column = int((90 - latitude) * 12), int((longitude + 180) * 12)
    place = np.flatnonzero(numbers == row // 64 * 67 + column // 64)
    return {task: y[place[0], ..., row % 64, column % 64] for task, y in data.targets.items()}


@pytest.mark.slow
def test_tiles_and_split(earth: Dataset, numbers: np.ndarray) -> None:
    assert earth.n == dataset_card("earth_dense")["rows"] == 643
    assert {part: len(rows) for part, rows in (earth.fixed_split or {}).items()} == {
        "train": 486,
        "test": 157,
    }
    assert list(earth.tasks) == list(dataset_card("earth_dense")["tasks"])
    parts = make_splits(earth)
    assert len(parts["test"]) == 157
    assert len(parts["train"]) + len(parts["val"]) == 486
    column = numbers % 67 * 64
    assert {int(c) // 256 % 5 for c in column[parts["test"]]} == {0}
    assert {int(c) // 256 % 5 for c in column[parts["train"]]} == {1, 2, 3, 4}
    large = load_dataset("earth_dense", tile=128)
    assert large.n == 173
    assert large.inputs["image"].shape == (173, 6, 128, 128)


@pytest.mark.slow
def test_ranges_and_missing_labels(earth: Dataset) -> None:
    image, y = earth.inputs["image"], earth.targets
    assert image.shape == (643, 6, 64, 64)
    assert (image.min(), image.max()) == (0.0, 1.0)
    land = y["land_cover"] != MISSING
    assert land.mean() == pytest.approx(0.8154, abs=1e-3)
    assert land.mean(axis=(1, 2)).min() > 0.25
    present = y["elevation"][~np.isnan(y["elevation"])]
    assert -430 <= present.min() < -300
    assert 6000 < present.max() < 8849
    assert set(np.unique(y["land_cover"])) == {MISSING, *range(17)}
    assert set(np.unique(y["climate"])) == {MISSING, *range(5)}
    # At sea nothing is labelled, on land nearly everything is.
    assert np.isnan(y["elevation"][~land]).all()
    assert np.isnan(y["normal"].transpose(0, 2, 3, 1)[~land]).all()
    assert (y["climate"][~land] == MISSING).all()
    assert np.isnan(y["elevation"][land]).mean() < 0.001
    assert (y["climate"][land] == MISSING).mean() < 0.005
    length = np.linalg.norm(y["normal"], axis=1)[land]
    np.testing.assert_allclose(length, 1, atol=1e-5)
    assert (y["normal"][:, 2][land] > 0).all()


@pytest.mark.slow
def test_known_places(earth: Dataset, numbers: np.ndarray) -> None:
    classes, zones = earth.tasks["land_cover"].classes, earth.tasks["climate"].classes
    for name, latitude, longitude, cover, zone, low, high in (
        ("Sahara", 23.0, 10.0, "barren", "arid", 600, 1000),
        ("Himalaya, near Everest", 27.98, 86.92, "barren", "polar", 5000, 8849),
        ("Lhasa", 29.65, 91.1, "grassland", "arid", 4000, 5000),
        ("Amazon", -5.0, -62.0, "evergreen_broadleaf_forest", "tropical", 0, 150),
        ("Greenland's ice", 72.0, -40.0, "snow_and_ice", "polar", 2500, 3300),
        ("Moscow", 55.75, 37.6, "urban", "cold", 100, 250),
        ("Lake Superior", 47.7, -88.0, "water", "cold", -150, 250),
    ):
        found = at(earth, numbers, latitude, longitude)
        assert classes[found["land_cover"]] == cover, name
        assert zones[found["climate"]] == zone, name
        assert low <= found["elevation"] <= high, name
    for name, latitude, longitude in (("Adriatic", 43.0, 15.0), ("Gulf of Guinea", 5.6, 3.2)):
        sea = at(earth, numbers, latitude, longitude)
        assert sea["land_cover"] == sea["climate"] == MISSING, name
        assert np.isnan(sea["elevation"]), name
        assert np.isnan(sea["normal"]).all(), name
    # South of the Himalaya's crest the ground faces south, north of the Alps' it faces north.
    himalaya = [at(earth, numbers, 27.0, x)["normal"][1] for x in np.arange(84, 92, 0.5)]
    alps = [at(earth, numbers, 47.7, x)["normal"][1] for x in np.arange(8.5, 13, 0.5)]
    assert np.mean(himalaya) > 0.2 > 0 > np.mean(alps)


@pytest.mark.slow
def test_colours_tell_the_land_cover_and_the_climate(earth: Dataset) -> None:
    """A linear model of a pixel's colours on the test longitudes, against the largest class."""
    parts = earth.fixed_split or {}
    generator = np.random.default_rng(0)
    for task, margin in (("land_cover", 0.1), ("climate", 0.15)):
        x, y = {}, {}
        for part, rows in parts.items():
            label = earth.targets[task][rows].ravel()
            pixels = generator.permutation(np.flatnonzero(label != MISSING))[:6000]
            colours = earth.inputs["image"][rows].transpose(0, 2, 3, 1).reshape(-1, 6)
            x[part], y[part] = colours[pixels], label[pixels]
        model = LogisticRegression(C=100, max_iter=1000).fit(x["train"], y["train"])
        largest = np.bincount(y["train"]).argmax()
        assert model.score(x["test"], y["test"]) > (y["test"] == largest).mean() + margin


@pytest.mark.slow
def test_trivial_scores_are_in_the_units_of_the_tasks(earth: Dataset) -> None:
    parts = earth.fixed_split or {}
    scores = {}
    for name, task in earth.tasks.items():
        y = earth.targets[name]
        scores[name] = task.fitted(y[parts["train"]]).trivial(y[parts["train"]], y[parts["test"]])
    assert scores["elevation"] == pytest.approx(447, abs=5)  # metres
    assert scores["normal"] == pytest.approx(24.7, abs=0.3)  # degrees
    assert 0 < float(scores["land_cover"]) < float(scores["climate"]) < 0.1  # one class of many


@pytest.mark.slow
def test_saved_and_loaded(earth: Dataset, tmp_path: Path) -> None:
    back = Dataset.load(earth.save(tmp_path / "saved"))
    assert back.tasks == earth.tasks
    for name, target in earth.targets.items():
        np.testing.assert_array_equal(back.targets[name], target)
    np.testing.assert_array_equal(back.inputs["image"], earth.inputs["image"])
    assert make_splits(back)["test"].tolist() == make_splits(earth)["test"].tolist()


def test_normals_of_a_slope() -> None:
    """50 m up for each pixel to the north is half of a right angle: the normal leans south."""
    rows, columns = np.mgrid[:60, :40]
    north = np.broadcast_to(5000 - 50.0 * rows, rows.shape).astype(np.float32)
    middle = normals(north)[:, 25:35, 10:30]
    for part, value in zip(middle, (0, 0.5**0.5, 0.5**0.5), strict=True):
        np.testing.assert_allclose(part, value, atol=1e-3)
    east = np.where(columns < 20, columns, 40 - columns) * np.float32(50)
    leaning = normals(east)
    np.testing.assert_allclose(leaning[0, :, 10], -(0.5**0.5), atol=1e-3)
    np.testing.assert_allclose(leaning[0, :, 30], 0.5**0.5, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(leaning, axis=0), 1, atol=1e-6)
    assert normals(np.full((60, 40), -3000, np.float32))[2].min() == 1  # the sea is flat


def test_tiles_lie_row_by_row() -> None:
    rows, columns = np.mgrid[:1800, :4320]
    for tile, count in ((64, 28 * 67), (128, 14 * 33)):
        north, west = _tiles(rows, tile), _tiles(columns, tile)
        assert len(north) == count
        across = 4320 // tile
        for number in (0, 1, across, count - 1):
            assert north[number, 0, 0] == number // across * tile
            assert west[number, 0, 0] == number % across * tile
            assert (north[number, 3, 5], west[number, 3, 5]) == (
                number // across * tile + 3,
                number % across * tile + 5,
            )


def test_another_tile_is_refused() -> None:
    with pytest.raises(UserError, match="tile is 100; expected 64 or 128"):
        load_dataset("earth_dense", tile=100)
