"""Saved models as teachers, on real data: what they say, and what is refused before training."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes

from polytask.data import Dataset, Preprocessor, make_splits, table_dataset
from polytask.errors import UserError
from polytask.tabular import FitSettings, Fitted, fit_dataset
from polytask.tabular.saved_teachers import Lesson, Rescaled, rows_seen, saved_distillation
from polytask.training import Distillation

KINDS = {"progression": "regression", "high": "binary"}
SMALL: dict[str, Any] = {"encoder": {"mlp": {"hidden": [16]}}, "epochs": 4, "lr": 3e-3}


@cache
def table() -> pd.DataFrame:
    """442 patients, a third of the labels of each target missing."""
    frame = load_diabetes(as_frame=True, scaled=False).frame.rename(
        columns={"target": "progression"}
    )
    frame["high"] = (frame["progression"] > 140).map({True: "yes", False: "no"})
    draw = np.random.default_rng(0)
    for name in KINDS:
        frame[name] = frame[name].mask(draw.random(len(frame)) < 0.3)
    return frame


def data(*targets: str, frame: pd.DataFrame | None = None) -> Dataset:
    """The table with these targets; the other one is no input."""
    frame = table() if frame is None else frame
    kept = frame.drop(columns=[name for name in KINDS if name not in targets])
    return table_dataset(kept, [f"{name}:{KINDS[name]}" for name in targets])


def lesson(dataset: Dataset, seed: int = 0) -> Lesson:
    splits = make_splits(dataset, seed=seed)
    tasks = {n: t.fitted(dataset.targets[n][splits["train"]]) for n, t in dataset.tasks.items()}
    return Lesson(tasks, dataset, Preprocessor.fit(dataset, splits["train"]), splits)


def saved(out: Path, *targets: str, seed: int = 0, **changes: Any) -> Path:
    """A model of these targets, trained and saved as `polytask train` does."""
    dataset = data(*targets)
    splits = make_splits(dataset, seed=seed)
    fitted, _ = fit_dataset(dataset, splits, FitSettings(**{**SMALL, **changes}))
    return fitted.save(out)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models")
    for name in KINDS:
        saved(out / name, name)
    saved(out / "both", *KINDS, encoder={"mlp": {"hidden": [24, 8]}})
    return out


def test_teachers_by_task_answer_as_the_saved_models(models: Path) -> None:
    wanted = lesson(data(*KINDS))
    distill, remarks = saved_distillation(
        {"from": {name: models / name for name in KINDS}, "form": "soft", "weight": 0.5}, wanted
    )
    assert remarks == []
    assert (distill.form, distill.weight_of("high")) == ("soft", 0.5)
    inputs = wanted.dataset.inputs
    batch = wanted.preprocessor.transform(inputs)
    for name in KINDS:
        (network,) = distill.teachers[name]
        with torch.no_grad():
            answers = network(batch)[name]
        assert torch.equal(answers, Fitted.load(models / name).outputs(inputs)[name])


def test_one_folder_teaches_all_it_has_learned_and_several_are_an_ensemble(models: Path) -> None:
    wanted = lesson(data(*KINDS))
    distill, _ = saved_distillation({"from": str(models / "both")}, wanted)
    assert list(distill.teachers) == list(KINDS)
    assert distill.teachers["high"][0] is distill.teachers["progression"][0]
    distill, _ = saved_distillation({"from": models / "high"}, wanted)
    assert list(distill.teachers) == ["high"]
    both = {"high": [models / "high", models / "both"]}
    distill, _ = saved_distillation({"from": both, "form": "ensemble"}, wanted)
    assert len(distill.teachers["high"]) == 2


@pytest.mark.parametrize("form", ["annealed", "features"])
def test_a_training_learns_from_them(models: Path, tmp_path: Path, form: str) -> None:
    dataset = data(*KINDS)
    splits = make_splits(dataset, seed=0)
    given = {"from": {name: models / name for name in KINDS}, "form": form}
    plain, _ = fit_dataset(dataset, splits, FitSettings(**SMALL))
    taught, history = fit_dataset(
        dataset, splits, FitSettings(**SMALL, distill=given), out=tmp_path / "run"
    )
    assert history.remarks == []
    assert len(history.epochs) == 4
    pairs = zip(
        plain.network.state_dict().values(), taught.network.state_dict().values(), strict=True
    )
    assert not all(torch.equal(one, other) for one, other in pairs)
    folders = {name: str(models / name) for name in KINDS}
    assert taught.settings["distill"] == {"from": folders, "form": form}
    card = json.loads((taught.save(tmp_path / "model") / "polytask.json").read_text("utf-8"))
    assert card["settings"]["seen"] == rows_seen(dataset, splits)
    assert f"form: {form}" in (tmp_path / "run" / "config.yaml").read_text("utf-8")


def test_a_student_that_only_listens_comes_to_agree_with_its_teacher(models: Path) -> None:
    dataset = data(*KINDS)
    splits = make_splits(dataset, seed=0)
    given = {"from": str(models / "both"), "form": "soft", "weight": 1.0}
    longer = {**SMALL, "epochs": 60, "patience": None, "select": "loss"}
    rows = {name: array[splits["test"]] for name, array in dataset.inputs.items()}
    teacher = Fitted.load(models / "both").outputs(rows)

    def distance(distill: dict[str, Any] | None) -> float:
        fitted, _ = fit_dataset(dataset, splits, FitSettings(**longer, distill=distill))
        answers = fitted.outputs(rows)
        return sum(float((answers[name] - teacher[name]).square().mean()) for name in KINDS)

    assert distance(given) < 0.5 * distance(None)


def test_another_scale_of_the_target_is_put_right(models: Path) -> None:
    """A teacher whose target has another mean and spread answers the same in target units."""
    wanted = lesson(data(*KINDS))
    ours = replace(wanted.tasks["progression"], mean=100.0, std=25.0)
    other = replace(wanted, tasks={**wanted.tasks, "progression": ours})
    distill, _ = saved_distillation({"from": {"progression": models / "progression"}}, other)
    (network,) = distill.teachers["progression"]
    assert isinstance(network, Rescaled)
    inputs = wanted.dataset.inputs
    with torch.no_grad():
        answers = network(wanted.preprocessor.transform(inputs))["progression"]
    fitted = Fitted.load(models / "progression")
    theirs = fitted.tasks["progression"].predict(fitted.outputs(inputs)["progression"])
    torch.testing.assert_close(ours.predict(answers), theirs, rtol=1e-4, atol=1e-3)
    maps = Rescaled(Constant(torch.ones(2, 1, 3)), wanted.tasks["progression"], ours)
    assert maps({})["progression"].shape == (2, 1, 3)
    same, _ = saved_distillation(
        {"from": {"progression": models / "progression"}, "form": "features"}, other
    )
    assert not isinstance(same.teachers["progression"][0], Rescaled)


class Constant(torch.nn.Module):
    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, inputs: Any, tasks: Any) -> dict[str, torch.Tensor]:
        return dict.fromkeys(tasks, self.answer)


def test_the_same_rows_under_another_split_are_a_leak(models: Path) -> None:
    """The teacher has learned labels of rows that are tested on here."""
    with pytest.raises(UserError, match=r"under another split, so it has seen rows .* tested on"):
        saved_distillation({"from": str(models / "both")}, lesson(data(*KINDS), seed=1))


def test_a_model_that_does_not_say_what_it_saw_is_remarked(models: Path, tmp_path: Path) -> None:
    old = shutil.copytree(models / "high", tmp_path / "old")
    card = json.loads((old / "polytask.json").read_text("utf-8"))
    del card["settings"]["seen"]
    (old / "polytask.json").write_text(json.dumps(card), "utf-8")
    distill, (remark,) = saved_distillation({"from": str(old)}, lesson(data(*KINDS)))
    assert isinstance(distill, Distillation)
    assert "could not be shown that the teacher" in remark
    assert str(old) in remark
    dataset = data(*KINDS)
    settings = FitSettings(**{**SMALL, "epochs": 1}, distill={"from": str(old)})
    _, history = fit_dataset(dataset, make_splits(dataset, seed=0), settings)
    assert history.remarks == [remark]


def test_other_rows_scale_inputs_otherwise(models: Path) -> None:
    fewer = data(*KINDS, frame=table().iloc[:300])
    with pytest.raises(UserError, match="filled, coded or scaled by other training rows"):
        saved_distillation({"from": str(models / "both")}, lesson(fewer))


def test_other_columns_are_named(models: Path) -> None:
    without = table().drop(columns="bmi")
    with pytest.raises(UserError, match=r"reads other input columns: 'bmi' is not here"):
        saved_distillation({"from": str(models / "both")}, lesson(data(*KINDS, frame=without)))
    more = table().assign(age2=table()["age"] ** 2)
    with pytest.raises(UserError, match=r"'age2' is not read by it.*under drop"):
        saved_distillation({"from": str(models / "both")}, lesson(data(*KINDS, frame=more)))


def test_another_task_of_the_same_name(models: Path) -> None:
    wanted = lesson(data(*KINDS))
    turned = replace(wanted.tasks["high"], classes=("yes", "no"))
    with pytest.raises(UserError, match=r"another task \(classes \('no', 'yes'\), here"):
        saved_distillation(
            {"from": {"high": models / "high"}},
            replace(wanted, tasks={**wanted.tasks, "high": turned}),
        )


def missing(models: Path) -> list[tuple[Any, str]]:
    return [
        (str(models / "none"), "there is no folder"),
        (str(models), "there is no polytask.json in"),
        ({"hihg": models / "high"}, "did you mean 'high'"),
        ({"progression": models / "high"}, "task for the teacher of 'progression'"),
        ({}, r"expected from: FOLDER"),
        ({"high": []}, r"expected from: FOLDER"),
        (3, r"expected from: FOLDER.*found 3"),
        (None, r"expected from: FOLDER"),
    ]


@pytest.mark.parametrize("case", range(8))
def test_what_is_no_teacher(models: Path, case: int) -> None:
    source, words = missing(models)[case]
    with pytest.raises(UserError, match=words):
        saved_distillation({"from": source}, lesson(data(*KINDS)))


def test_a_model_of_other_tasks_and_words_that_are_not_known(models: Path) -> None:
    with pytest.raises(UserError, match=r"has learned high, none of the tasks progression"):
        saved_distillation({"from": str(models / "high")}, lesson(data("progression")))
    with pytest.raises(UserError, match="did you mean 'temperature'"):
        saved_distillation({"from": str(models / "high"), "temperatur": 2}, lesson(data(*KINDS)))
    with pytest.raises(UserError, match="form of distillation"):
        saved_distillation({"from": str(models / "high"), "form": "hard"}, lesson(data(*KINDS)))


def test_a_damaged_model(models: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(models / "high", tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"the teacher \(.*broken\) cannot be read"):
        saved_distillation({"from": str(broken)}, lesson(data(*KINDS)))
