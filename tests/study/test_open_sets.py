"""Data sets by task, from Python: read alike, split each by itself, trained on together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from polytask.data import Dataset, DataSets, load_dataset
from polytask.data.sources import Key
from polytask.errors import UserError
from polytask.study.data_sets import key_of, open_sets
from polytask.tabular import FitSettings, Mixing, fit_sets
from polytask.tasks import Task

FIT = FitSettings(encoder={"mlp": {"hidden": [8]}}, epochs=1)


def wines() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cultivar of 140 wines, and whether another 38 have much colour; a text column too."""
    frame = load_wine(as_frame=True).frame.sample(frac=1, random_state=0)
    frame["hues"] = np.where(frame["hue"] > 1, "bright", "dull")
    frame["cellar"] = np.arange(178) // 5
    strong = frame.pop("color_intensity") > 5
    first = frame[:140].rename(columns={"target": "cultivar"})
    return first, frame[140:].drop(columns="target").assign(strong=strong[140:])


def plain(name: str, rows: int, tasks: dict[str, Task], inputs: int = 3) -> Dataset:
    """A data set of random numbers."""
    draw = np.random.default_rng(rows)
    return Dataset(
        name=name,
        inputs={"numeric": draw.normal(size=(rows, inputs))},
        targets={
            n: draw.integers(0, 2, rows) if t.classes else draw.normal(size=rows)
            for n, t in tasks.items()
        },
        tasks=tasks,
    )


def test_rows_are_below_each_other_and_labels_are_where_they_belong() -> None:
    first, second = wines()
    sets = open_sets({"cultivar": first, "strong": second}, drop=["cellar"])
    joint = sets.dataset
    assert (joint.n, list(joint.tasks)) == (178, ["cultivar", "strong"])
    assert joint.labelled() == {"cultivar": 140, "strong": 38}
    assert (joint.targets["cultivar"][140:] == -100).all()
    assert joint.columns["categorical"] == ["hues"]
    assert [list(dataset.tasks) for dataset in sets.sets.values()] == [["cultivar"], ["strong"]]
    splits = sets.split(seed=3, test_fraction=0.2)
    sizes = {n: [len(rows) for rows in parts.values()] for n, parts in splits.items()}
    assert sizes == {"cultivar": [91, 21, 28], "strong": [24, 6, 8]}
    rows = sets.rows(splits)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(178))
    assert set(rows["test"] >= 140) == {True, False}
    again = open_sets({"cultivar": first, "strong": second.assign(hue=1.0)}, drop=["cellar"])
    assert again.fingerprints["cultivar"] == sets.fingerprints["cultivar"]
    assert again.fingerprints["strong"] != sets.fingerprints["strong"]


def test_columns_of_the_split_are_no_inputs_and_groups_stay_whole() -> None:
    first, second = wines()
    sets = open_sets({"cultivar": first, "strong": second}, split="group:cellar")
    assert "cellar" not in sets.dataset.columns["numeric"]
    for dataset, parts in zip(
        sets.sets.values(), sets.split(split="group:cellar").values(), strict=True
    ):
        assert dataset.groups is not None
        groups = [set(dataset.groups[rows]) for rows in parts.values()]
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]


def test_only_training_rows_are_learned_from(tmp_path: Path) -> None:
    first, second = wines()
    ash = second.assign(ash=second["ash"] + 100 * (np.arange(38) % 2))
    tables = {"cultivar": first.drop(columns="ash"), "strong, ash": ash}
    sets = open_sets(tables, drop=["cellar"])
    splits = sets.split(seed=1)
    fitted, history = fit_sets(sets, splits, FIT, Mixing("uniform"), out=tmp_path / "m")
    train = sets.rows(splits)["train"]
    learned = sets.dataset.inputs["numeric"][train].astype(np.float64)
    np.testing.assert_allclose(fitted.preprocessor.mean, learned.mean(0), rtol=1e-6)
    target = sets.dataset.targets["ash"][train].astype(np.float64)
    assert fitted.tasks["ash"].mean == pytest.approx(np.nanmean(target), rel=1e-6)
    assert fitted.tasks["ash"].std == pytest.approx(np.nanstd(target), rel=1e-6)
    assert set(history.epochs[0]) >= {"val/cultivar/accuracy", "val/ash/rmse"}


def test_two_data_sets_may_share_a_task() -> None:
    whole = load_dataset("digits")
    halves: dict[Key, Dataset] = {
        "digit": whole.subset(np.arange(900)),
        ("digit", "parity"): whole.subset(np.arange(900, 1797)),
    }
    sets = DataSets.of(halves)
    assert sets.dataset.labelled() == {"digit": 1797, "parity": 897}
    np.testing.assert_array_equal(sets.dataset.targets["digit"], whole.targets["digit"])
    mixing = Mixing(steps_per_epoch=3, batch_size={"digit+parity": 8}, tasks_per_step="all")
    settings = FitSettings(epochs=1, batch_size=4)
    history = fit_sets(sets, sets.split(), settings, mixing)[1]
    assert history.epochs[0]["examples/digit"] == 3 * 12
    assert history.epochs[0]["examples/parity"] == 3 * 8


def test_keys() -> None:
    assert key_of("ner") == "ner"
    assert key_of("pos, chunk") == ("pos", "chunk")
    assert key_of(("pos", "chunk")) == ("pos", "chunk")
    assert key_of(("pos",)) == "pos"
    for wrong in (3, "pos,,ner", "pos,pos", ()):
        with pytest.raises(UserError):
            key_of(wrong)


def test_what_cannot_be_together_is_refused() -> None:
    a, b = Task("a", "regression"), Task("b", "binary")
    one, other = plain("one", 9, {"a": a}), plain("other", 7, {"b": b})
    cases: list[tuple[dict[Key, Dataset], str]] = [
        ({}, "no data set"),
        ({"a": one, "b": one}, "unknown task of one: 'b'"),
        ({"a": one, "b": other.subset(np.arange(0))}, "the data set of 'b' is empty"),
        ({"a": one, "b": plain("wide", 7, {"b": b}, 4)}, "One encoder must read all inputs"),
        (
            {"a": one, ("b", "a"): plain("c", 5, {"b": b, "a": Task("a", "binary")})},
            "task 'a' is not the same in the data sets of 'a' and 'b\\+a'",
        ),
    ]
    for sets, message in cases:
        with pytest.raises(UserError, match=message):
            DataSets.of(sets)
    other.targets["b"][:] = -100
    with pytest.raises(UserError, match="'b' has no label of 'b' in its 7 rows"):
        DataSets.of({"a": one, "b": other})
    with pytest.raises(UserError, match="the data set of 'a': 2 rows are too few"):
        DataSets.of({"a": one.subset(np.arange(2))}).split()
    alone = DataSets.of({"a": one})
    with pytest.raises(UserError, match="helper tasks are constructed"):
        fit_sets(alone, alone.split(), FitSettings(auxiliary="autoencoding"))


def test_labels_outside_the_declared_classes_are_refused() -> None:
    first, second = wines()
    declared = Task("cultivar", "multiclass", classes=(0, 1))
    with pytest.raises(UserError, match="cultivar"):
        open_sets({"cultivar": first, "strong": second}, targets={"cultivar": declared})
    with pytest.raises(UserError, match="expected one"):
        open_sets({"cultivar, strong": first, ("cultivar", "strong"): second})
    with pytest.raises(UserError, match="by task"):
        open_sets({})
    with pytest.raises(UserError, match="only tables"):
        open_sets({"digit": "digits", "parity": "digits"}, drop=["x"])
