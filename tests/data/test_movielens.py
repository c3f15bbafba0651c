"""MovieLens 100k: published counts, nested tasks, splits by time and person, tastes."""

from pathlib import Path

import numpy as np
import pytest
from connection import needs_connection
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from polytask.data import Dataset, Preprocessor, dataset_card, load_dataset, make_splits


@pytest.fixture(scope="module")
def ratings() -> Dataset:
    with needs_connection():
        return load_dataset("movielens")


def column(data: Dataset, name: str) -> np.ndarray:
    """A column as it was read: words for categories."""
    if name in data.columns["numeric"]:
        return data.inputs["numeric"][:, data.columns["numeric"].index(name)]
    codes = data.inputs["categorical"][:, data.columns["categorical"].index(name)]
    return np.asarray(data.columns["categories"][name])[codes]


def test_counts_that_grouplens_published(ratings: Dataset) -> None:
    card = dataset_card("movielens")
    assert ratings.n == 100000 == card["rows"]
    assert list(ratings.tasks) == list(card["tasks"])
    stars = ratings.targets["rating"]
    assert np.bincount(stars.astype(int)).tolist() == [0, 6110, 11370, 27145, 34174, 21201]
    assert stars.mean() == pytest.approx(3.52986)
    for least, above in ((3, 82520), (4, 55375), (5, 21201)):
        target = ratings.targets[f"like{least}"]
        assert target.sum() == above
        np.testing.assert_array_equal(target, stars >= least)
    people, per_person = np.unique(column(ratings, "user"), return_counts=True)
    films, per_film = np.unique(column(ratings, "item"), return_counts=True)
    assert (len(people), per_person.min(), per_person.max()) == (943, 20, 737)
    # Film 50, Star Wars, has most ratings.
    assert (len(films), films[per_film.argmax()], per_film.max()) == (1682, "50", 583)
    levels = {name: len(words) for name, words in ratings.columns["categories"].items()}
    assert levels == {"user": 943, "item": 1682, "gender": 2, "occupation": 21, "zip_area": 11}
    assert (ratings.inputs["categorical"] >= 0).all()
    # Of the 943 people 670 are men; u.genre has 19 genres, Drama is that of 725 films.
    one = np.unique(column(ratings, "user"), return_index=True)[1]
    assert (column(ratings, "gender")[one] == "M").sum() == 670
    assert len([name for name in ratings.columns["numeric"] if name.startswith("genre_")]) == 19
    one = np.unique(column(ratings, "item"), return_index=True)[1]
    for genre, number in (("Drama", 725), ("Comedy", 505), ("Film-Noir", 24), ("unknown", 2)):
        assert column(ratings, f"genre_{genre}")[one].sum() == number


def test_rows_are_joined_as_published(ratings: Dataset) -> None:
    """First line of u.data: 196 242 3 881250949; person 196 and film 242 (Kolya, 1996)."""
    assert ratings.times is not None
    assert (ratings.targets["rating"][0], ratings.times[0]) == (3, 881250949)
    names = ("user", "item", "age", "gender", "occupation", "zip_area", "year")
    first = [column(ratings, name)[0] for name in names]
    assert first == ["196", "242", 49, "M", "writer", "5", 1996]
    genres = [n for n in ratings.columns["numeric"][2:] if column(ratings, n)[0]]
    assert genres == ["genre_Comedy"]
    years = column(ratings, "year")
    assert np.isnan(years).sum() == 9
    assert set(column(ratings, "item")[np.isnan(years)]) == {"267"}
    assert set(years[column(ratings, "item") == "1412"]) == {1995}
    assert (np.nanmin(years), np.nanmax(years)) == (1922, 1998)


def test_splits_by_time_person_and_film(ratings: Dataset) -> None:
    assert ratings.times is not None
    for split in ("time", "time:timestamp"):
        parts = make_splits(ratings, split=split)
        assert ratings.times[parts["train"]].max() < ratings.times[parts["val"]].min()
        assert ratings.times[parts["val"]].max() < ratings.times[parts["test"]].min()
        assert len(parts["test"]) == pytest.approx(15000, abs=50)
    for name in ("user", "item"):
        parts = make_splits(ratings, split=f"group:{name}", seed=2)
        held = set(column(ratings, name)[parts["test"]])
        assert held.isdisjoint(column(ratings, name)[parts["train"]])
    assert {len(p) for p in make_splits(ratings).values()} == {70000, 15000}


def test_tastes_can_be_learned_but_are_not_given_away(ratings: Dataset) -> None:
    part = ratings.subset(np.random.default_rng(0).permutation(ratings.n)[:24000])
    train, test = np.arange(20000), np.arange(20000, 24000)
    x = Preprocessor.fit(part, train).transform(part.inputs)
    hot = OneHotEncoder(handle_unknown="ignore").fit(x["categorical"][train])
    for task in ("like3", "like4", "like5"):
        y = part.targets[task]
        model = LogisticRegression(C=0.3, solver="liblinear")
        model.fit(hot.transform(x["categorical"][train]), y[train])
        score = model.decision_function(hot.transform(x["categorical"][test]))
        # Above .7 with people and films known, and far from 1: no input holds the rating.
        assert 0.70 < roc_auc_score(y[test], score) < 0.85
    for name, values in zip(ratings.columns["numeric"], x["numeric"].numpy().T, strict=False):
        assert abs(np.corrcoef(values, part.targets["rating"])[0, 1]) < 0.3, name


def test_it_can_be_kept_in_a_folder(ratings: Dataset, tmp_path: Path) -> None:
    part = ratings.subset(np.arange(500))
    back = Dataset.load(part.save(tmp_path / "kept"))
    np.testing.assert_array_equal(back.inputs["categorical"], part.inputs["categorical"])
    np.testing.assert_array_equal(back.inputs["numeric"], part.inputs["numeric"])
    for split in ("random", "time:timestamp", "group:user", "stratified:like5"):
        first, again = make_splits(part, split=split), make_splits(back, split=split)
        for name in first:
            np.testing.assert_array_equal(first[name], again[name])
