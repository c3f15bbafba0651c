"""Tables of their own for each task, prepared alike. Wine and diabetes of scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_wine

from polytask.data import InTurn, Mixture, read_tables
from polytask.errors import UserError
from polytask.tasks import Task


def wine() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cultivar of 150 wines, and whether another 28 have much colour; a text column too."""
    frame = load_wine(as_frame=True).frame.sample(frac=1, random_state=0)
    frame["hues"] = np.where(frame["hue"] > 1, "bright", "dull")
    strong = frame.pop("color_intensity") > 5
    first = frame.iloc[:150].rename(columns={"target": "cultivar"})
    second = frame.iloc[150:].drop(columns="target").assign(strong=strong.iloc[150:])
    return first, second


def test_tables_are_prepared_together() -> None:
    first, second = wine()
    mixture = Mixture({"cultivar": first, "strong": second}, "shuffled_union", batch_size=16)
    tables = mixture.tables
    assert tables is not None
    assert tables.tasks["cultivar"].kind == "multiclass"
    assert tables.tasks["strong"].kind == "binary"
    assert mixture.sizes == {"cultivar": 150, "strong": 28}
    numeric = torch.cat([pair[0]["numeric"] for pair in tables.pairs.values()])
    assert numeric.shape == (178, tables.spec.numeric)
    torch.testing.assert_close(numeric.mean(0), torch.zeros(numeric.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(numeric.std(0, correction=0), torch.ones(numeric.shape[1]))
    codes = {
        key: dict(zip(frame["hues"], pair[0]["categorical"][:, 0].tolist(), strict=True))
        for (key, pair), frame in zip(tables.pairs.items(), (first, second), strict=True)
    }
    assert codes["cultivar"] == codes["strong"]
    assert set(next(iter(mixture))[0]) == {"numeric", "categorical"}
    joint = next(iter(Mixture({"cultivar": first, "strong": second}, tasks_per_step="all")))
    assert (joint[1]["cultivar"] == -100).sum() == 28


def test_files_and_frames_give_the_same(tmp_path: Path) -> None:
    first, second = wine()
    first.to_csv(tmp_path / "first.csv", index=False)
    second.to_parquet(tmp_path / "second.parquet", index=False)
    paths = {"cultivar": tmp_path / "first.csv", "strong": str(tmp_path / "second.parquet")}
    one = read_tables(paths)
    other = read_tables({"cultivar": first, "strong": second})
    for key in one.pairs:
        for a, b in zip(one.pairs[key], other.pairs[key], strict=True):
            for name in a:
                torch.testing.assert_close(a[name], b[name], rtol=1e-5, atol=1e-6)
    assert Mixture(paths).tables is not None


def test_further_tables_are_prepared_the_same() -> None:
    first, second = wine()
    tables = read_tables({"cultivar": first, "strong": second.iloc[:20]})
    again = tables.read({"cultivar": first})["cultivar"]
    for a, b in zip(again, tables.pairs["cultivar"], strict=True):
        for name in a:
            assert torch.equal(a[name], b[name])
    val = InTurn(tables.read({"cultivar": first.iloc[:9], "strong": second.iloc[20:]}))
    assert [tuple(targets) for _, targets in val] == [("cultivar",), ("strong",)]
    with pytest.raises(UserError, match=r"mixture\.tables\.read"):
        InTurn({"strong": second})
    with pytest.raises(UserError, match="'strong': it lacks the target column"):
        tables.read({"strong": first})
    with pytest.raises(UserError, match="lacks 'ash'"):
        tables.read({"strong": second.drop(columns="ash")})
    strange = first.assign(cultivar="unheard of")
    with pytest.raises(UserError, match="unheard of"):
        tables.read({"cultivar": strange})


def test_a_target_elsewhere_is_no_input_here() -> None:
    frame = load_diabetes(as_frame=True).frame
    # Both tables have both columns; each is used for its own task alone.
    tables = read_tables({"target": frame.iloc[:100], "bp": frame.iloc[100:130]})
    assert tables.columns["numeric"] == [c for c in frame.columns if c not in ("target", "bp")]
    assert set(tables.pairs["target"][1]) == {"target"}
    mean = float(frame["bp"].iloc[100:130].mean())
    assert tables.tasks["bp"].mean == pytest.approx(mean, rel=1e-5)


def test_kinds_can_be_said() -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame
    task = Task("target", "regression", metrics=("mae",))
    mixture = Mixture({("target", "sex"): frame}, kinds={"target": task, "sex": "binary"})
    assert mixture.tables is not None
    assert mixture.tables.tasks["target"].primary.name == "mae"
    assert mixture.tables.tasks["sex"].kind == "binary"


def test_whole_numbers_stay_codes_beside_rows_without_a_label() -> None:
    first, second = wine()
    tables = read_tables({"cultivar": first, "strong": second})
    assert tables.tasks["cultivar"].classes == (0, 1, 2)
    assert tables.pairs["cultivar"][1]["cultivar"].dtype == torch.int64
    assert tables.pairs["strong"][1]["strong"].tolist() == second["strong"].astype(int).tolist()


def test_a_table_that_does_not_fit() -> None:
    first, second = wine()
    with pytest.raises(UserError, match="'strong' lacks 'ash', 'hue'"):
        Mixture({"cultivar": first, "strong": second.drop(columns=["ash", "hue"])})
    with pytest.raises(UserError, match="did you mean 'strong'"):
        Mixture({"cultivar": first, "stron": second})
    with pytest.raises(UserError, match="'strong' is empty"):
        Mixture({"cultivar": first, "strong": second.iloc[:0]})
    with pytest.raises(UserError, match="there is no file"):
        Mixture({"cultivar": "/nowhere/at/all.csv"})
    with pytest.raises(UserError, match="no table"):
        read_tables({})
    second = second.assign(ash="words")
    with pytest.raises(UserError, match=r"'ash' holds"):
        read_tables({"cultivar": first}).read({"cultivar": second.assign(cultivar=1)})
