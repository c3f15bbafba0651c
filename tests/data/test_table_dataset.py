"""From a table to a data set: targets, inputs, notes, and errors before anything trains."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.data import table_dataset
from polytask.errors import UserError
from polytask.tasks import Task


def houses(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "area": rng.normal(100, 20, n),
            "district": rng.choice(["north", "south", "east"], n),
            "built": pd.date_range("1990-01-01", periods=n, freq="30D").astype(str),
            "garden": rng.random(n) < 0.5,
            "price": rng.normal(300, 50, n),
            "sold": rng.choice(["yes", "no"], n),
            "rooms": rng.integers(1, 6, n),
        }
    )


def test_a_table_becomes_inputs_and_targets() -> None:
    frame = houses()
    data = table_dataset(frame, ["price:regression", "sold:binary", "rooms"], drop=["id"])
    assert list(data.tasks) == ["price", "sold", "rooms"]
    assert data.columns["numeric"] == ["area", "built", "garden"]
    assert data.columns["categorical"] == ["district"]
    assert data.columns["categories"]["district"] == ["east", "north", "south"]
    assert data.inputs["numeric"].dtype == np.float32
    assert data.inputs["categorical"].dtype == np.int64
    np.testing.assert_array_equal(data.inputs["numeric"][:3, 1], [0, 30, 60])
    np.testing.assert_array_equal(data.inputs["numeric"][:, 2], frame["garden"].astype(float))
    assert data.tasks["sold"].classes == ("no", "yes")
    np.testing.assert_array_equal(data.targets["sold"], (frame["sold"] == "yes").astype(int))
    assert data.tasks["rooms"].kind == "multiclass"
    assert data.tasks["rooms"].classes == (1, 2, 3, 4, 5)
    np.testing.assert_allclose(data.targets["price"], frame["price"], rtol=1e-6)
    notes = "\n".join(data.notes)
    assert (
        "target rooms: multiclass with 5 classes (only 5 distinct whole numbers; a guess" in notes
    )
    assert "write rooms:regression" in notes
    assert "built: dates, counted in days from 1990-01-01" in notes


def test_missing_labels_keep_their_rows(wine: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    frame = wine.copy()
    gone = {name: rng.random(len(frame)) < 0.3 for name in ("cultivar", "alcohol")}
    for name, mask in gone.items():
        frame[name] = frame[name].where(~mask)
    data = table_dataset(frame, ["cultivar", "alcohol"])
    assert data.n == len(wine)
    assert data.tasks["cultivar"].classes == (0, 1, 2)
    np.testing.assert_array_equal(data.targets["cultivar"] == -100, gone["cultivar"])
    np.testing.assert_array_equal(np.isnan(data.targets["alcohol"]), gone["alcohol"])
    kept = ~gone["cultivar"]
    np.testing.assert_array_equal(data.targets["cultivar"][kept], wine["cultivar"][kept])
    assert data.labelled() == {name: int((~mask).sum()) for name, mask in gone.items()}
    assert any(f"of {data.n} rows labelled" in note for note in data.notes)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["prise:regression"], "unknown target column 'prise'; did you mean 'price'"),
        (["price:regresion"], "unknown target kind of 'price': 'regresion'; did you mean 'regr"),
        (["price", "price:regression"], "'price' was given twice"),
        ([], "no targets were given"),
        (["district:regression"], "'district' holds words such as 'south'; expected numbers"),
        (["rooms:binary"], r"'rooms' has 5 different labels .*expected 2 for a binary task"),
        (["built:regression"], "holds dates"),
        (["built:multiclass"], "holds dates"),
        (["price:multiclass"], r"numbers with fractions \(60 distinct values\); expected class"),
        (["price:binary"], "numbers with fractions"),
        (["id:multiclass"], "a different label in each of 60 rows"),
        ([Task("sold", "binary", classes=("yes", "maybe"))], "holds the label 'no'"),
        ({"price": Task("cost", "regression")}, "the task of target 'price' is called 'cost'"),
    ],
)
def test_wrong_targets_are_refused(targets: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        table_dataset(houses(), targets)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [None, "regression", "binary", "multiclass"])
def test_constant_and_empty_targets_are_named(kind: str | None) -> None:
    frame = houses().assign(flat=7, nothing=np.nan)
    for column, message in (("flat", "'flat' is constant"), ("nothing", "'nothing' has no label")):
        with pytest.raises(UserError, match=message):
            table_dataset(frame, {column: kind})


def test_words_in_options_are_checked() -> None:
    for options, message in (
        ({"drop": ["idd"]}, "unknown column in drop: 'idd'; did you mean 'id'"),
        ({"drop": ["price"]}, "'price' is a target; it cannot be in drop"),
        ({"group": "distict"}, "unknown column in group: 'distict'; did you mean 'district'"),
        ({"kinds": {"area": "category"}}, "unknown kind of the input column 'area': 'category'"),
        ({"drop": ["id", "area", "district", "built", "garden", "sold", "rooms"]}, "no input col"),
    ):
        with pytest.raises(UserError, match=message):
            table_dataset(houses(), ["price"], **options)  # type: ignore[arg-type]


def test_columns_that_are_no_use_are_left_out_with_the_reason() -> None:
    frame = houses(1200)[["price", "area", "id"]].assign(
        key=[f"k{i}" for i in range(1200)],
        levels=[f"l{i % 1100}" for i in range(1200)],
        flat="x",
        zero=0.0,
        nothing=None,
        lists=[[1]] * 1200,
        infinite=[np.inf, *np.arange(1199.0) ** 2],
    )
    frame.insert(0, "Unnamed: 0", range(1200))
    data = table_dataset(frame, ["price"])
    dropped = data.columns["dropped"]
    assert set(dropped) == {"key", "levels", "flat", "zero", "nothing", "lists", "Unnamed: 0"}
    assert "1100 different values" in dropped["levels"]
    assert "identifier" not in dropped["key"]
    assert data.columns["numeric"] == ["area", "id", "infinite"]
    assert np.isnan(data.inputs["numeric"][0, 2])
    notes = "\n".join(data.notes)
    assert "infinite: 1 infinite or too large values count as missing" in notes
    assert "id: looks like a row number" in notes
    small = table_dataset(frame.head(100), ["price"])
    assert "identifier" in small.columns["dropped"]["key"]


def test_mixed_columns_are_categories_unless_the_words_mark_missing_numbers() -> None:
    frame = houses().assign(code=["12", "abc", 12] * 20, width=[*map(str, range(59)), "?"])
    data = table_dataset(frame, ["price"])
    assert data.columns["categories"]["code"] == ["12", "abc"]
    assert "width" in data.columns["numeric"]
    column = data.inputs["numeric"][:, data.columns["numeric"].index("width")]
    assert np.isnan(column[-1])
    assert column[:59].tolist() == list(range(59))
    notes = "\n".join(data.notes)
    assert "code: numbers and 'abc'; taken as categories" in notes
    assert "width: numbers and '?'; read as numbers, words as missing" in notes


def test_kinds_override_what_was_found() -> None:
    data = table_dataset(
        houses(), ["rooms"], kinds={"rooms": "regression", "garden": "categorical"}
    )
    assert data.tasks["rooms"].kind == "regression"
    assert data.columns["categories"]["garden"] == ["False", "True"]
    with pytest.raises(UserError, match="'district' holds words such as 'south'; expected numbers"):
        table_dataset(houses(), ["rooms"], kinds={"district": "numeric"})


def test_group_and_time_columns_are_not_inputs() -> None:
    data = table_dataset(houses(), ["price"], group="district", time="built")
    used = [*data.columns["numeric"], *data.columns["categorical"]]
    assert "district" not in used
    assert "built" not in used
    assert data.groups is not None
    assert len(np.unique(data.groups)) == 3
    assert data.times is not None
    assert (np.diff(data.times) > 0).all()
    bad = houses()
    bad.loc[3, "district"] = None
    with pytest.raises(UserError, match="group column 'district' has 1 missing"):
        table_dataset(bad, ["price"], group="district")
    with pytest.raises(UserError, match="time column 'sold' holds words such as"):
        table_dataset(houses(), ["price"], time="sold")


def test_classes_of_every_sort() -> None:
    frame = houses(4).assign(
        flag=[True, False, None, True],
        code=[0, 1, -100, 1],
        half=[0.5, 1.5, 2.5, 0.5],
        text=["10", "9", "b", "9"],
    )
    data = table_dataset(frame, ["flag", "code", "half:multiclass", "text:multiclass", "price"])
    assert data.tasks["flag"].classes == (False, True)
    assert data.targets["flag"].tolist() == [1, 0, -100, 1]
    assert data.targets["code"].tolist() == [0, 1, -100, 1]
    assert data.tasks["half"].classes == (0.5, 1.5, 2.5)
    assert data.targets["text"].tolist() == [0, 1, 2, 1]
    given = table_dataset(frame, [Task("flag", "binary")])
    assert given.targets["flag"].tolist() == [1, 0, -100, 1]
    with pytest.raises(UserError, match="'flag' holds the label 'True', which is not among"):
        table_dataset(frame, [Task("flag", "binary", classes=("yes", "no"))])


def test_multilabel_from_separated_text_lists_and_columns() -> None:
    frame = houses(4).assign(tags=["a|b", "b", None, ""], sets=[["x"], [], ["x", "y"], None])
    frame["p"], frame["q"] = [0, 1, 1, 0], [1.0, np.nan, 0, 1]
    data = table_dataset(
        frame,
        ["tags:multilabel", "sets:multilabel", Task("both", "multilabel", classes=("p", "q"))],
    )
    assert data.tasks["tags"].classes == ("a", "b")
    expected = [[1, 1], [0, 1], [np.nan, np.nan], [0, 0]]
    np.testing.assert_array_equal(data.targets["tags"], np.asarray(expected, np.float32))
    np.testing.assert_array_equal(data.targets["sets"][:3], [[1, 0], [0, 0], [1, 1]])
    np.testing.assert_array_equal(data.targets["both"][:, 0], [0, 1, 1, 0])
    assert np.isnan(data.targets["both"][1, 1])
    assert not {"p", "q"} & set(data.columns["numeric"])


def test_infinite_labels_are_missing_with_a_note() -> None:
    frame = houses().assign(price=[np.inf, -np.inf, 1e300, *range(57)])
    data = table_dataset(frame, ["price"])
    assert np.isnan(data.targets["price"]).sum() == 3
    assert "target price: 3 infinite labels count as missing" in data.notes


def test_tables_without_rows_or_with_double_names_are_refused() -> None:
    with pytest.raises(UserError, match="no rows"):
        table_dataset(houses().head(0), ["price"])
    double = houses()
    double.columns = pd.Index(["a", "a", *double.columns[2:]])
    with pytest.raises(UserError, match="columns of the same name: 'a'"):
        table_dataset(double, ["price"])


def test_roles_in_text_and_mapping() -> None:
    frame = houses().assign(**{"a:b": np.linspace(0, 1, 60)})
    asked = ["price:regression:auxiliary", "rooms:auxiliary", "sold:main", "a:b:auxiliary"]
    data = table_dataset(frame, asked, drop=["id"])
    roles = {name: task.role for name, task in data.tasks.items()}
    assert roles == {"price": "auxiliary", "rooms": "auxiliary", "sold": "main", "a:b": "auxiliary"}
    assert any("rooms" in n and "auxiliary: trains along" in n for n in data.notes)
    mapping = {
        "price": {"kind": "regression", "role": "auxiliary"},
        "rooms": "auxiliary",
        "sold": {"kind": "binary"},
        "a:b": "regression:auxiliary",
    }
    again = table_dataset(frame, mapping, drop=["id"])  # type: ignore[arg-type]
    assert again.tasks == data.tasks


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["price:regression:auxilary"], "did you mean 'auxiliary'"),
        ({"price": {"kind": "regression", "rolle": "main"}}, "did you mean 'role'"),
        ({"price": {"role": "helper"}}, "unknown role of target 'price'"),
    ],
)
def test_wrong_roles_are_refused(targets: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        table_dataset(houses(), targets)


def test_a_slash_in_a_name_says_what_to_do() -> None:
    frame = houses().rename(columns={"price": "price/m2"})
    with pytest.raises(UserError, match="rename the column"):
        table_dataset(frame, ["price/m2"])
