"""Helpers from every door: the command line, YAML, the estimator, saved models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_wine

import polytask
from polytask import registry
from polytask.cli import run
from polytask.errors import UserError
from polytask.tabular import Fitted, MultiTaskEstimator

FAST: dict[str, Any] = {"epochs": 3, "encoder": {"mlp": {"hidden": [16]}}, "device": "cpu"}
RECIPES: list[Any] = [
    {"predicting_inputs": {"columns": ["hue"]}},
    {"nuisance": {"of": "cellar"}},
    {"quantised": {"of": "alcohol", "bins": 3}},
    "denoising",
]


@pytest.fixture(scope="module")
def wine() -> pd.DataFrame:
    frame: pd.DataFrame = load_wine(as_frame=True).frame
    frame.columns = [name.replace("/", "_") for name in frame.columns]
    frame["cellar"] = np.where(np.arange(len(frame)) % 3, "north", "south")
    return frame


@pytest.fixture(scope="module")
def table(wine: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tables") / "wine.csv"
    wine.to_csv(file, index=False)
    return file


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(word) for word in words])
    text = capsys.readouterr()
    return code, text.out, text.err


@pytest.mark.parametrize("architecture", ["hard_sharing", "cross_stitch", "mmoe"])
def test_the_estimator_predicts_its_targets_alone(
    wine: pd.DataFrame, tmp_path: Path, architecture: str
) -> None:
    model = MultiTaskEstimator(auxiliary=RECIPES, architecture=architecture, **FAST)
    model = clone(model).fit(wine, targets=["target:multiclass", "alcohol"])
    assert list(model.tasks_) == ["target", "alcohol"]
    helpers = ["input_hue", "cellar_nuisance", "alcohol_bins", "denoising"]
    assert list(model.fitted_.helpers) == helpers
    assert "train/denoising/loss" in model.history_.epochs[0]
    # What a helper predicts instead of reading is not asked of new tables.
    found = model.predict(wine.drop(columns=["hue", "cellar", "target", "alcohol"]))
    assert list(found.columns) == ["target", "alcohol"]
    pd.testing.assert_frame_equal(found, model.predict(wine))
    assert set(
        model.evaluate(wine.drop(columns=["target", "alcohol"]), wine[["target", "alcohol"]])
    ) == {"target", "alcohol"}
    again = MultiTaskEstimator.load(model.save(tmp_path / "model"))
    assert again.auxiliary == RECIPES
    pd.testing.assert_frame_equal(again.predict(wine), found)
    assert list(again.fitted_.helpers) == helpers


def test_a_model_without_helpers_is_stored_as_before(wine: pd.DataFrame, tmp_path: Path) -> None:
    model = MultiTaskEstimator(**FAST).fit(wine, targets=["target:multiclass", "alcohol"])
    card = json.loads((model.save(tmp_path / "plain") / "polytask.json").read_text())
    assert "helpers" not in card
    assert "reverse" not in card["tasks"]["alcohol"]
    assert "auxiliary" not in model.fitted_.settings


@pytest.mark.parametrize("auxiliary", ["denoising", {"denoising": {"copies": 1}}, ["denoising"]])
def test_one_helper_needs_no_list(wine: pd.DataFrame, auxiliary: Any) -> None:
    model = MultiTaskEstimator(auxiliary=auxiliary, **FAST)
    model.fit(wine.drop(columns="cellar"), targets=["alcohol"])
    assert list(model.fitted_.helpers) == ["denoising"]
    with pytest.raises(UserError, match="did you mean 'denoising'"):
        model.set_params(auxiliary=["denoisin"]).fit(wine, targets=["alcohol"])


def test_the_main_task_learns_the_same_scale(wine: pd.DataFrame) -> None:
    plain, helped = (
        MultiTaskEstimator(auxiliary=given, **FAST).fit(wine, targets=["alcohol"])
        for given in (None, ["denoising"])
    )
    assert plain.tasks_ == helped.tasks_
    ours, theirs = helped.fitted_.preprocessor, plain.fitted_.preprocessor
    assert ours.to_dict() == theirs.to_dict()


def test_training_from_the_command_line(
    capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path
) -> None:
    words = ["train", "--data", table, "--targets", "target:multiclass", "alcohol"]
    words += ["--auxiliary", "predicting_inputs:columns=[hue]", "quantised:of=alcohol,bins=3"]
    words += ["--epochs", 2, "--no-progress", "--out", tmp_path / "m"]
    code, out, err = called(capsys, *words)
    assert (code, err) == (0, "")
    assert "trained along: input_hue, alcohol_bins" in out
    fitted = Fitted.load(tmp_path / "m")
    assert list(fitted.tasks) == ["target", "alcohol"]
    assert fitted.settings["auxiliary"][0] == {"predicting_inputs": {"columns": ["hue"]}}
    code, out, err = called(capsys, "predict", "--model", tmp_path / "m", "--data", table)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "target,alcohol"


def test_training_a_registered_set_with_pictures(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["train", "--data", "digits", "--targets", "digit", "--epochs", 1, "--json"]
    words += ["--encoder", "resnet:width=4,blocks=[1]", "--out", tmp_path / "m"]
    code, out, _ = called(capsys, *words, "--auxiliary", "rotation:share=0.1", "reconstruction")
    assert code == 0
    found = json.loads(out)
    assert list(found["tasks"]) == list(found["test"]) == ["digit"]
    assert found["helpers"]["reconstruction"]["places"] == [8, 8]
    words = ["predict", "--model", tmp_path / "m", "--data", "digits"]
    assert called(capsys, *words)[1].splitlines()[0] == "digit"


def test_words_of_a_study(
    capsys: pytest.CaptureFixture[str],
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[dict[str, Any]] = []

    def stop(data: Any, **words: Any) -> None:
        given.append(words)
        raise UserError("seen")

    monkeypatch.setattr("polytask.study.compare", stop)
    study = tmp_path / "study.yaml"
    start = f"data: {table}\ntargets: [alcohol, hue]\n"
    wanted = ["rotation", {"quantised": {"of": "alcohol", "bins": 8}}]
    for text in (
        "auxiliary: [rotation, {quantised: {of: alcohol, bins: 8}}]",
        "auxiliary: {rotation: , quantised: {of: alcohol, bins: 8}}",
    ):
        study.write_text(start + text)
        assert called(capsys, "compare", study)[0] == 2
        assert given.pop()["auxiliary"] == wanted
    words = ["compare", "--data", table, "--targets", "alcohol", "hue", "--auxiliary"]
    called(capsys, *words, "rotation", "quantised:of=alcohol,bins=8")
    assert given.pop()["auxiliary"] == wanted
    for wrong, message in (
        ("rotatoin", "did you mean 'rotation'"),
        ("quantised:bin=3", "did you mean 'bins'"),
        ("rotation:share=half", "should be a number"),
    ):
        code, _, err = called(capsys, *words, wrong)
        assert code == 2
        assert message in err
    assert not given


def test_the_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = called(capsys, "list", "auxiliary")
    assert code == 0
    for name in registry.names("auxiliary"):
        assert name in out
    assert "Gidaris 2018" in out
    assert "square images" in out
    rows = json.loads(called(capsys, "list", "auxiliary", "rotation", "--json")[1])
    assert rows[0]["needs"] == "square images"
    assert rows[0]["arguments"] == {"share": "1.0", "name": "'rotation'"}
    assert "options: share=1.0" in called(capsys, "list", "auxiliary", "rotation")[1]


def test_public_names() -> None:
    assert "rotation" in polytask.list_auxiliaries("rot*")
    assert type(polytask.create_auxiliary("quantised", bins=3)).__name__ == "Quantised"
