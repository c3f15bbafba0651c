"""`polytask train --distill`: saved models of single tasks teach one of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from polytask.cli import run
from polytask.cli._distill import saved_teachers
from polytask.errors import UserError

COMMON = ("--drop", "id", "flat", "--epochs", "3", "--encoder", "mlp:hidden=[16]", "--no-progress")


@pytest.fixture(scope="module")
def models(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model for each of the two targets, the other one dropped."""
    out = tmp_path_factory.mktemp("models")
    for name, other in (("progression", "high"), ("high", "progression")):
        words = ["train", "--data", patients, "--targets", name, *COMMON[:3], other, *COMMON[3:]]
        assert run([str(word) for word in (*words, "--out", out / name)]) == 0
    return out


def test_each_task_has_its_teacher(polytask: Any, models: Path, patients: Path, here: Path) -> None:
    ran = polytask(
        "train", "--data", patients, "--targets", "progression", "high", *COMMON, "--json",
        "--distill", f"progression={models / 'progression'}", f"high={models / 'high'}",
        "form=soft", "weight=0.5", "--out", "taught",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert not any("could not be shown" in note for note in result["notes"])
    settings = json.loads(Path("taught/polytask.json").read_text("utf-8"))["settings"]
    assert settings["distill"]["form"] == "soft"
    assert set(settings["distill"]["from"]) == {"progression", "high"}


def test_a_yaml_file_says_the_same(polytask: Any, models: Path, patients: Path, here: Path) -> None:
    Path("run.yaml").write_text(
        f"data: {patients}\ntargets: [progression, high]\ndrop: [id, flat]\nepochs: 2\n"
        "encoder: {mlp: {hidden: [16]}}\nprogress: false\nout: taught\n"
        f"distill: {{from: {{high: {models / 'high'}}}, temperature: 2}}\n",
        "utf-8",
    )
    ran = polytask("train", "run.yaml")
    assert (ran.code, ran.err) == (0, "")
    settings = json.loads(Path("taught/polytask.json").read_text("utf-8"))["settings"]
    assert settings["distill"] == {"from": {"high": str(models / "high")}, "temperature": 2}


def test_a_teacher_of_another_split_is_refused_before_training(
    polytask: Any, models: Path, patients: Path, here: Path
) -> None:
    ran = polytask(
        "train", "--data", patients, "--targets", "progression", "high", *COMMON, "--seed", "5",
        "--distill", f"high={models / 'high'}", "--out", "taught",
    )  # fmt: skip
    assert ran.code == 2
    assert "has seen rows that are tested on here" in ran.err
    assert not Path("taught/run.json").exists()


def test_several_data_sets_take_no_saved_teachers(
    polytask: Any, models: Path, patients: Path, here: Path
) -> None:
    table = pd.read_csv(patients).drop(columns=["id", "flat"])
    for name, other in (("progression", "high"), ("high", "progression")):
        table.drop(columns=other).dropna().to_csv(f"{name}.csv", index=False)
    ran = polytask(
        "train", "--data", "{progression: progression.csv, high: high.csv}", *COMMON[3:],
        "--distill", f"high={models / 'high'}", "--out", "taught",
    )  # fmt: skip
    assert ran.code == 2
    assert "saved teachers read the rows of one data set" in ran.err


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (["models/both"], {"from": "models/both"}),
        (["from=models/both", "form=soft"], {"from": "models/both", "form": "soft"}),
        (["a=m/a", "b=m/b", "temperature=2"], {"from": {"a": "m/a", "b": "m/b"}, "temperature": 2}),
        ({"from": {"a": ["m/1", "m/2"]}, "weight": "0.5"},
         {"from": {"a": ["m/1", "m/2"]}, "weight": 0.5}),
    ],
)  # fmt: skip
def test_words_of_the_flag_and_the_file(raw: Any, found: dict[str, Any]) -> None:
    assert saved_teachers(raw, "--distill") == found


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (["form=soft"], "the model to learn from; found none"),
        (["from=m", "a=m"], "found both"),
        (["a=m", "a=n"], "each once"),
        (["from="], "expected from=FOLDER"),
        (["single_task"], "use polytask compare"),
        ({"form": "soft"}, "found none"),
    ],
)
def test_words_that_cannot_be(raw: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        saved_teachers(raw, "--distill")
