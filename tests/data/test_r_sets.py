"""Data sets out of R packages: published counts, known rows, splits, and whether they teach."""

import sys
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from connection import needs_connection
from scipy.spatial import cKDTree
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

from polytask.data import Dataset, Preprocessor, dataset_card, load_dataset, make_splits
from polytask.data._rdata import lazy_object, plain, rda
from polytask.data.fetch import fetch
from polytask.errors import MissingExtraError, PolytaskError, UserError

Load = Callable[..., Dataset]
SETS = ("lucas", "jura", "exam", "chem97")


@lru_cache
def _load(name: str, **options: Any) -> Dataset:
    return load_dataset(name, **options)


@pytest.fixture(scope="module")
def load() -> Load:
    def loaded(name: str, **options: Any) -> Dataset:
        with needs_connection():
            return _load(name, **options)

    return loaded


@pytest.fixture(scope="module")
def pupils() -> dict[str, Path]:
    with needs_connection():
        return fetch(dataset_card("exam"))


def column(data: Dataset, name: str) -> np.ndarray:
    """A column as it was read: words for categories."""
    if name in data.columns["numeric"]:
        return data.inputs["numeric"][:, data.columns["numeric"].index(name)]
    codes = data.inputs["categorical"][:, data.columns["categorical"].index(name)]
    return np.asarray(data.columns["categories"][name])[codes]


def flat(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Inputs as scikit-learn takes them, made ready with what `rows` teach."""
    x = Preprocessor.fit(data, rows).transform(data.inputs)
    hot = [np.eye(int(codes.max()) + 1)[codes] for codes in x["categorical"].numpy().T]
    return np.concatenate([x["numeric"].numpy(), *hot], axis=1)


def pooled(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The one label of each row, and the place of the task that has it."""
    labels = np.stack(list(data.targets.values()), axis=1)
    there = ~np.isnan(labels)
    assert (there.sum(axis=1) == 1).all()
    return labels[there], there.argmax(axis=1)


def moran(values: np.ndarray, places: np.ndarray, neighbours: int = 8) -> float:
    """Moran's I with the nearest neighbours as weights: about 0 for values without a pattern."""
    z = (values - values.mean()) / values.std()
    near = cKDTree(places).query(places, neighbours + 1)[1][:, 1:]
    return float((z * z[near].mean(axis=1)).mean())


def test_lucas_matches_the_published_table(load: Load) -> None:
    data = load("lucas")
    assert data.n == 25357
    assert list(data.tasks) == ["log_price", "log_area"]
    # The first house of the R package: 303,000 dollars, 3,273 square feet, built 1978.
    first = {name: column(data, name)[0] for name in ("yrbuilt", "stories", "baths", "lotsize")}
    assert first == {"yrbuilt": 1978, "stories": "one+half", "baths": 3, "lotsize": 53496}
    assert np.exp(data.targets["log_price"][0]) == pytest.approx(303000, rel=1e-6)
    assert np.exp(data.targets["log_area"][0]) == pytest.approx(3273, rel=1e-6)
    assert np.exp(data.targets["log_price"].astype(float)).mean() == pytest.approx(79017.94)
    assert (column(data, "stories") == "one").sum() == 12954
    sold = column(data, "sold")
    assert np.bincount(sold.astype(int) - 1993).tolist() == [3260, 3719, 4130, 4838, 5032, 4378]
    assert not set(data.columns["numeric"]) & {"avalue", "TLA", "price", "age", "s1993"}


def test_neighbouring_houses_are_alike(load: Load) -> None:
    data = load("lucas")
    places = np.stack([column(data, name) for name in data.columns["coordinates"]], axis=1)
    # Metres: the county is about 54 by 35 km, and no two houses are at one place.
    assert np.ptp(places, axis=0) == pytest.approx([53790, 34559], abs=10)
    assert len(np.unique(places, axis=0)) == data.n
    found = {name: moran(target.astype(float), places) for name, target in data.targets.items()}
    assert found == pytest.approx({"log_price": 0.820, "log_area": 0.581}, abs=0.002)
    mixed = np.random.default_rng(0).permutation(data.targets["log_price"].astype(float))
    assert abs(moran(mixed, places)) < 0.02


def test_lucas_can_be_learned_less_well_elsewhere(load: Load) -> None:
    data = load("lucas")
    scores = {}
    for split in ("random", "group:block"):
        parts = make_splits(data, split=split)
        x = flat(data, parts["train"])
        for name, y in data.targets.items():
            fitted = Ridge().fit(x[parts["train"]], y[parts["train"]])
            scores[split, name] = fitted.score(x[parts["test"]], y[parts["test"]])
    assert min(scores.values()) > 0.4
    assert scores["random", "log_area"] > 0.7
    assert scores["group:block", "log_price"] < scores["random", "log_price"]


def test_blocks_of_lucas_are_squares_of_the_map(load: Load) -> None:
    data = load("lucas")
    parts = make_splits(data, split="group:block")
    assert all(0.14 < len(parts[part]) / data.n < 0.16 for part in ("val", "test"))
    places = np.stack([column(data, "x"), column(data, "y")], axis=1).astype(float)
    for block in np.unique(data.groups)[:20]:
        assert (np.ptp(places[data.groups == block], axis=0) <= 3000).all()
    distances = cKDTree(places[parts["train"]]).query(places[parts["test"]])[0]
    drawn = make_splits(data)
    mixed = cKDTree(places[drawn["train"]]).query(places[drawn["test"]])[0]
    assert np.median(distances) > 5 * np.median(mixed)
    larger = load("lucas", block_km=10)
    assert len(np.unique(larger.groups)) < len(np.unique(data.groups))
    by_time = make_splits(data, split="time:sold")
    sold = column(data, "sold")
    assert sold[by_time["train"]].max() < sold[by_time["test"]].min()


def test_jura_has_the_published_split(load: Load) -> None:
    data = load("jura", split="published")
    assert list(data.tasks) == ["Cd", "Co", "Cr", "Cu", "Ni", "Pb", "Zn"]
    parts = make_splits(data)
    assert parts["test"].tolist() == list(range(259, 359))
    assert len(parts["train"]) + len(parts["val"]) == 259
    # The first places of prediction.dat and validation.dat.
    metals = np.stack(list(data.targets.values()), axis=1)
    np.testing.assert_allclose(metals[0], [1.74, 9.32, 38.32, 25.72, 21.32, 77.36, 92.56])
    np.testing.assert_allclose(metals[259], [1.57, 8.28, 37.12, 18.6, 18.6, 38.2, 65.2])
    np.testing.assert_allclose(data.inputs["numeric"][0], [2.386, 3.077])
    assert [column(data, name)[0] for name in ("land_use", "rock")] == ["Meadow", "Sequanian"]
    assert (column(data, "rock") == "Kimmeridgian").sum() == 85 + 39
    # Means of the 259 training places in Goovaerts's book: cadmium 1.31, nickel 19.73 mg/kg.
    assert metals[:259].mean(axis=0)[[0, 4]] == pytest.approx([1.309, 19.730], abs=1e-3)


def test_cobalt_and_nickel_of_jura_follow_the_rock(load: Load) -> None:
    data = load("jura", split="published")
    x = flat(data, np.arange(259))
    for name in ("Co", "Ni"):
        y = data.targets[name]
        forest = RandomForestRegressor(random_state=0).fit(x[:259], y[:259])
        assert forest.score(x[259:], y[259:]) > 0.25


def test_exam_matches_the_published_table(load: Load) -> None:
    data = load("exam", min_rows=1)
    assert (data.n, len(data.tasks)) == (4059, 65)
    assert list(data.tasks) == [f"school_{i}" for i in range(1, 66)]
    counts = data.labelled()
    assert (counts["school_14"], counts["school_54"], counts["school_48"]) == (198, 8, 2)
    # The first pupil: score .261, reading test .619, a girl in a mixed school.
    assert data.targets["school_1"][0] == pytest.approx(0.261324, abs=1e-6)
    assert np.isnan(data.targets["school_2"][0])
    assert column(data, "standLRT")[0] == pytest.approx(0.619059, abs=1e-6)
    assert [column(data, name)[0] for name in ("sex", "schgend")] == ["F", "mixed"]
    labels, school = pooled(data)
    assert labels.mean() == pytest.approx(-0.000114, abs=1e-6)
    # Schools' means of the reading test are what the file calls schavg.
    reading, mean = column(data, "standLRT"), column(data, "schavg")
    for place in range(65):
        assert reading[school == place].mean() == pytest.approx(mean[school == place][0], abs=1e-5)


def test_bands_of_exam_go_the_right_way_up(load: Load) -> None:
    data = load("exam")
    reading = column(data, "standLRT")
    for name in ("intake", "vr"):
        words = column(data, name)
        low, mid, high = (
            reading[words == band].mean() for band in ("bottom 25%", "mid 50%", "top 25%")
        )
        assert low < mid < high


def test_small_schools_are_left_out_and_named(load: Load) -> None:
    data = load("exam")
    assert (data.n, len(data.tasks)) == (4049, 63)
    assert min(data.labelled().values()) == 22
    assert any("48 (2 rows), 54 (8 rows)" in note for note in data.notes)
    for seed in range(3):
        parts = make_splits(data, split="stratified", seed=seed)
        for name, task in data.tasks.items():
            present = ~np.isnan(data.targets[name])
            assert all(present[rows].any() for rows in parts.values()), name
            assert task.fitted(data.targets[name][parts["train"]]).std > 0
    every = load("exam", min_rows=1)
    assert not any(note.startswith("left out") for note in every.notes)
    with pytest.raises(UserError, match="'stratify_on' has 2 row"):
        make_splits(every, split="stratified")


def test_exam_scores_can_be_learned(load: Load) -> None:
    data = load("exam")
    parts = make_splits(data, split="stratified", test_fraction=0.25)
    x, (y, _) = flat(data, parts["train"]), pooled(data)
    score = (
        Ridge().fit(x[parts["train"]], y[parts["train"]]).score(x[parts["test"]], y[parts["test"]])
    )
    assert 0.3 < score < 0.6


def test_chem97_matches_the_published_table(load: Load) -> None:
    data = load("chem97")
    assert (data.n, len(data.tasks)) == (31022, 131)
    counts = data.labelled()
    assert (min(counts.values()), max(counts.values())) == (counts["lea_8"], counts["lea_118"])
    assert (counts["lea_8"], counts["lea_118"]) == (10, 969)
    assert len(np.unique(data.groups)) == 2410
    # The first student: 4 points, GCSE 6.625, three months older than 18 years and a half.
    assert data.targets["lea_1"][0] == 4
    assert data.inputs["numeric"][0].tolist() == [6.625, 3]
    points, counted = np.unique(pooled(data)[0], return_counts=True)
    assert points.tolist() == [0, 2, 4, 6, 8, 10]
    assert counted.tolist() == [3688, 3627, 4619, 5739, 6668, 6681]
    assert (column(data, "gender") == "M").sum() == 17262
    parts = make_splits(data, split="group:school")
    x, (y, _) = flat(data, parts["train"]), pooled(data)
    score = (
        Ridge().fit(x[parts["train"]], y[parts["train"]]).score(x[parts["test"]], y[parts["test"]])
    )
    assert 0.35 < score < 0.6


def test_schools_as_tasks_and_all_in_one(load: Load) -> None:
    schools = load("chem97", tasks="school", min_rows=100)
    assert len(schools.tasks) == 4
    assert max(schools.labelled().values()) == schools.labelled()["school_698"] == 188
    assert schools.groups is None
    for name, rows, groups in (("chem97", 31022, 2410), ("exam", 4059, 65)):
        whole = load(name, tasks="pooled")
        assert (whole.n, list(whole.tasks), len(np.unique(whole.groups))) == (
            rows,
            ["score"],
            groups,
        )
        parts = make_splits(whole, split="group:school")
        assert not set(whole.groups[parts["train"]]) & set(whole.groups[parts["test"]])


@pytest.mark.parametrize("name", SETS)
def test_saved_and_loaded_the_same(name: str, load: Load, tmp_path: Path) -> None:
    data = load(name)
    again = Dataset.load(data.save(tmp_path / name))
    assert again.tasks == data.tasks
    assert (again.columns, again.notes) == (data.columns, data.notes)
    for key, array in {**data.inputs, **data.targets}.items():
        np.testing.assert_array_equal({**again.inputs, **again.targets}[key], array)
    for key in ("groups", "stratify_on"):
        before, after = getattr(data, key), getattr(again, key)
        assert (before is None) == (after is None)
        assert before is None or (before == after).all()
    card = dataset_card(name)
    assert data.n == card["rows"]
    assert card["address"].startswith("https://")


def test_options_are_checked() -> None:
    for name, options, message in (
        ("lucas", {"block_km": 0}, "block_km of lucas is 0; expected kilometres"),
        ("lucas", {"block": 2}, "'block'; did you mean 'block_km'"),
        ("jura", {"split": "publised"}, "'publised'; did you mean 'published'"),
        ("exam", {"tasks": "schools"}, "'schools'; did you mean 'school'"),
        ("chem97", {"tasks": "leas"}, "'leas'; did you mean 'lea'"),
    ):
        with pytest.raises(UserError, match=message):
            load_dataset(name, **options)


def test_impossible_minimum_of_rows(load: Load) -> None:
    load("exam")
    with pytest.raises(UserError, match="min_rows of exam is 0; expected 1 or more"):
        load_dataset("exam", min_rows=0)
    with pytest.raises(UserError, match="leaves no school: the largest has 198 rows"):
        load_dataset("exam", min_rows=199)


def test_an_object_that_is_not_in_the_package(pupils: dict[str, Path]) -> None:
    with pytest.raises(PolytaskError, match=r"Rdata.rdb holds no 'exam'; found .*Exam"):
        lazy_object(pupils.values(), "exam")


def test_another_compression_is_refused(pupils: dict[str, Path], tmp_path: Path) -> None:
    """An index that says xz, made by changing the one byte that says zlib."""
    files = {file.suffix: file for file in pupils.values()}
    index = zlib.decompress(files[".rdx"].read_bytes(), zlib.MAX_WBITS | 32)
    # A logical vector (type 10) of length 1: TRUE; made a vector of integers (type 13): 3.
    true, three = b"\0\0\0\x0a\0\0\0\1\0\0\0\1", b"\0\0\0\x0d\0\0\0\1\0\0\0\3"
    assert index.count(true) == 1
    changed = tmp_path / "Rdata.rdx"
    changed.write_bytes(zlib.compress(index.replace(true, three)))
    with pytest.raises(PolytaskError, match="another method than zlib"):
        lazy_object([changed, files[".rdb"]], "Exam")


def test_data_frames_come_out_plain(load: Load) -> None:
    load("jura")
    (file,) = fetch(dataset_card("jura")).values()
    tables = rda(file)
    transect = plain(tables["transect.dat"])
    # The transect has the cadmium of 10 places of 106.
    assert transect["Cd"].notna().sum() == 10
    assert transect.index.tolist() == list(range(106))
    codes = plain(tables["prediction.dat"])
    assert codes["Rock"].dtype == np.int64
    words = plain(tables["jura.pred"])["Rock"]
    assert words.dtype == object
    # The words stand for the codes of Goovaerts's file, one each.
    assert len(set(zip(words, codes["Rock"], strict=True))) == 5


def test_rdata_that_is_missing(monkeypatch: pytest.MonkeyPatch, pupils: dict[str, Path]) -> None:
    monkeypatch.setitem(sys.modules, "rdata", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polytask\[data\]'"):
        lazy_object(pupils.values(), "Exam")
