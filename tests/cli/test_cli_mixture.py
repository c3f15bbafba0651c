"""`polytask train` on a data set of its own for each task: wines in two tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_wine

from polytask.study.data_sets import open_sets
from polytask.tabular import FitSettings, Mixing, fit_sets
from polytask.training import Callback, Trainer

SETTINGS = {
    "data": {"cultivar": "first.csv", "strong, ash": "second.parquet"},
    "schedule": {"temperature": {"alpha": 0.5}},
    "batch_size": {"cultivar": 16, "strong, ash": 8},
    "encoder": {"mlp": {"hidden": [16]}},
    "epochs": 3,
    "patience": 3,
    "checkpoint_every": 0,
    "out": "m",
}


@pytest.fixture
def wines(here: Path) -> Path:
    """150 wines of known cultivar, and 28 others: much colour or not, and how much ash."""
    frame = load_wine(as_frame=True).frame.sample(frac=1, random_state=0)
    strong = frame.pop("color_intensity") > 5
    first = frame[:150].rename(columns={"target": "cultivar"}).drop(columns="ash")
    first.to_csv("first.csv", index=False)
    second = frame[150:].drop(columns="target").assign(strong=strong[150:])
    second.to_parquet("second.parquet", index=False)
    write(SETTINGS)
    return here


def write(settings: dict[str, Any], name: str = "c.yaml") -> None:
    Path(name).write_text(yaml.safe_dump(settings, sort_keys=False))


class Cut(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


class CutAfter(Callback):
    """Ends the process's work after so many batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


def cut(folder: str, batches: int = 20, settings: dict[str, Any] = SETTINGS) -> None:
    """The training of the YAML file, begun from Python and killed in the middle of an epoch."""
    sets = open_sets(settings["data"])
    options = {"callbacks": [CutAfter(batches)], "checkpoint_every": 0.0}
    mixing = Mixing(settings["schedule"], batch_size={"cultivar": 16, "strong+ash": 8})
    fit = FitSettings(encoder=settings["encoder"], epochs=3, patience=3, options=options)
    with pytest.raises(Cut):
        fit_sets(sets, sets.split(), fit, mixing, out=Path(folder))


def test_one_file_trains_one_network_on_two_tables(polytask: Any, wines: Path) -> None:
    ran = polytask("train", "c.yaml")
    assert (ran.code, ran.err) == (0, "")
    assert "cultivar: 150 rows" in ran.out
    assert "strong+ash: 28 rows" in ran.out
    records = [json.loads(line) for line in Path("m/metrics.jsonl").read_text().splitlines()]
    seen = {task: sum(r[f"examples/{task}"] for r in records) for task in ("cultivar", "ash")}
    told = f"examples seen: cultivar {seen['cultivar']}, strong {seen['ash']}, ash {seen['ash']}\n"
    assert told in ran.out
    assert {"val/cultivar/accuracy", "val/strong/auroc", "val/ash/rmse"} <= set(records[0])
    mixture = yaml.safe_load(Path("m/config.yaml").read_text())["mixture"]
    assert mixture["how"]["schedule"] == "Temperature"
    assert mixture["how"]["batch_size"] == {"cultivar": 16, "strong+ash": 8}
    assert mixture["steps"] == 10
    assert mixture["sets"]["strong+ash"]["rows"] == {"train": 20, "val": 4, "test": 4}
    assert mixture["sets"]["cultivar"]["data"] == "first"
    prints = {each["fingerprint"] for each in mixture["sets"].values()}
    assert {len(text) for text in prints} == {64}


def test_all_tasks_are_predicted_for_new_rows(polytask: Any, wines: Path) -> None:
    assert polytask("train", "c.yaml", "--epochs", 1).code == 0
    new = pd.read_csv("first.csv").drop(columns="cultivar")
    new.to_csv("new.csv", index=False)
    ran = polytask("predict", "--model", "m", "--data", "new.csv")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "cultivar,strong,ash"
    assert len(lines) == 151
    new.drop(columns="hue").to_csv("new.csv", index=False)
    assert "lacks 'hue'" in polytask("predict", "--model", "m", "--data", "new.csv").err


def test_flags_say_the_same_and_win(polytask: Any, wines: Path) -> None:
    write({"epochs": 5, "out": "m", "schedule": "uniform", "encoder": SETTINGS["encoder"]})
    ran = polytask(
        "train", "c.yaml", "--json", "--epochs", 1,
        "--data", "{cultivar: first.csv, 'strong,ash': second.parquet}",
        "--targets", "cultivar:multiclass", "ash:regression:auxiliary",
        "--schedule", "temperature:alpha=0.5", "--tasks-per-step", "all",
        "--steps-per-epoch", 4, "--batch-size", "cultivar=10,strong+ash=5", "--method", "pcgrad",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["examples"] == {"cultivar": 40, "strong": 20, "ash": 20}
    assert told["tasks"]["ash"]["role"] == "auxiliary"
    how = yaml.safe_load(Path("m/config.yaml").read_text())["mixture"]["how"]
    assert (how["alpha"], how["tasks_per_step"], how["steps_per_epoch"]) == (0.5, "all", 4)
    ran = polytask("train", "c.yaml", "--data", "digits", "--batch-size", "many")
    assert "--batch-size should be a whole number, or one by data set" in ran.err


def test_a_kill_in_mid_epoch_and_the_same_command_end_with_the_same_bits(
    polytask: Any, wines: Path
) -> None:
    whole = json.loads(polytask("train", "c.yaml", "--json", "--out", "whole").out)
    cut("killed", 4)
    cut("killed", 15)
    ran = polytask("train", "c.yaml", "--json", "--out", "killed")
    assert ran.code == 0, ran.err
    ended = json.loads(ran.out)
    assert "resumed" in ended["taken_up"]
    assert ended["test"] == whole["test"]
    assert ended["examples"] == whole["examples"]
    cards = [json.loads(Path(name, "polytask.json").read_text()) for name in ("whole", "killed")]
    assert cards[0]["sha256"] == cards[1]["sha256"]


def test_going_on_with_changed_rows_is_refused(polytask: Any, wines: Path) -> None:
    cut("m")
    table = pd.read_parquet("second.parquet")
    table["ash"] *= 1.01  # its scale is another then, and so the task's
    table.to_parquet("second.parquet", index=False)
    ran = polytask("train", "c.yaml")
    assert ran.code == 2
    assert "m holds an unfinished training on other data of 'strong+ash'" in ran.err
    assert "--no-resume" in ran.err
    ran = polytask("train", "c.yaml", "--no-resume", "--json")
    assert (ran.code, json.loads(ran.out)["taken_up"]) == (0, "")


def test_a_starved_task_is_told(polytask: Any, wines: Path) -> None:
    ran = polytask("train", "c.yaml", "--schedule", "temperature:alpha=9", "--epochs", 1)
    assert ran.code == 0
    assert "note: the data set of 'strong+ash', which has 20 rows, was starved" in ran.out


def test_one_data_set_keeps_its_words(polytask: Any, wines: Path) -> None:
    words = ["train", "--data", "first.csv", "--targets", "cultivar", "--epochs", 1, "--out", "o"]
    for flag, value in (("schedule", "uniform"), ("tasks-per-step", 1), ("steps-per-epoch", 3)):
        ran = polytask(*words, f"--{flag}", value)
        assert (ran.code, f"--{flag.replace('_', '-')} is for several data sets" in ran.err) == (
            2,
            True,
        )
    ran = polytask(*words, "--batch-size", "cultivar=3")
    assert "--batch-size should be a whole number: there is one data set" in ran.err
    assert json.loads(polytask(*words, "--json", "--batch-size", 32).out)["examples"] == {
        "cultivar": 106
    }
    ran = polytask("compare", "--data", "first.csv", "c.yaml")
    assert ran.code == 2
    write({"data": SETTINGS["data"]}, "study.yaml")
    assert "for polytask train and polytask compare" in polytask("relate", "study.yaml").err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"schedule": "temprature"}, "did you mean 'temperature'"),
        ({"schedule": {"temperature": {"alpa": 1}}}, "did you mean 'alpha'"),
        ({"tasks_per_step": 3}, "from 1 to 2, the data sets there are; found 3"),
        ({"tasks_per_step": "some"}, "should be 'all' or a whole number"),
        ({"steps_per_epoch": 0}, "steps_per_epoch in c.yaml should be a whole number of at least"),
        ({"batch_size": {"cultvar": 3}}, "did you mean 'cultivar'"),
        ({"batch_size": {"cultivar": "x"}}, "should be a whole number, or one by data set"),
        ({"batch_size": {"cultivar": 0}}, "should be a whole number of at least 1, found 0"),
        ({"test": "first.csv"}, "test in c.yaml is for one data set"),
        ({"auxiliary": "autoencoding"}, "auxiliary"),
        ({"targets": ["color"]}, "unknown task of the data sets"),
        ({"targets": ["cultivar:binary"]}, "target 'cultivar' has 3 different labels"),
        ({"drop": "ash"}, "'ash' is a task"),
        ({"drop": "hues"}, "'hues' is no column"),
        ({"data": {"cultivar": "first.csv", "strong": "thrid.csv"}}, "strong: no data set and no"),
        ({"data": {"cultivar": "first.csv", "strong": None}}, "'strong' has no data set"),
        ({"data": {"cultivar": "first.csv", "ash": "first.csv"}}, "has no column 'ash'"),
        ({"data": {"cultivar": "first.csv", "strong": "second.parquet"}}, "lacks 'ash'"),
        ({"data": {"cultivar": "first.csv", "hole": "holes.csv"}}, "'hole'"),
        ({"data": {"cultivar": "first.csv", "few": "few.csv"}}, "the data set of 'few'"),
        (
            {"data": {"cultivar": "first.csv", "none": "none.csv"}},
            "of 'none': none.csv has a header but",
        ),
        ({"data": {"cultivar": "first.csv", "digit": "digits"}}, "One encoder must read all inp"),
        ({"data": {"parity": "digits", "digt": "digits"}}, "did you mean 'digit'"),
        ({"data": {"parity": "digits", "digit": "digits"}, "split": "group:book"}, "of 'parity': "),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_in_two_lines(
    polytask: Any, wines: Path, words: dict[str, Any], says: str
) -> None:
    inputs = pd.read_csv("first.csv").drop(columns="cultivar")
    inputs.assign(hole=np.nan).to_csv("holes.csv", index=False)
    inputs[:2].assign(few=[1.5, 2.5]).to_csv("few.csv", index=False)
    inputs[:0].assign(none=[]).to_csv("none.csv", index=False)
    settings = {**SETTINGS, **words}
    if "data" in words:
        del settings["batch_size"], settings["encoder"]
    write(settings)
    ran = polytask("train", "c.yaml")
    assert ran.code == 2
    assert says in ran.err, ran.err
    assert len(ran.err.splitlines()) == 2
