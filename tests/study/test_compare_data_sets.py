"""`polytask compare` with a data set of its own for each task: wines in two tables."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from torch import nn
from wine_tables import SMALL, wines, written

import polytask
from polytask.cli import run as command
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.study import compare
from polytask.study.unit import load_data, prepare
from polytask.tasks import Task

SCHEDULES = ["proportional", {"temperature": {"alpha": 0.0}}]
NETWORKS = 3 + 2 * 2  # separate ones; linear and uncertainty by each schedule, and rlw by the first


def times(out: Path) -> dict[Path, int]:
    return {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*")}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that the command made of a YAML file."""
    folder = tmp_path_factory.mktemp("wines")
    settings = {
        "data": written(folder),
        "methods": ["uncertainty"],
        "schedules": SCHEDULES,
        **{word: value for word, value in SMALL.items() if word != "progress"},
        "out": str(folder / "out"),
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    assert command(["compare", str(file)]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def results(study: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((study / "results.json").read_text())
    return found


@pytest.mark.slow
def test_one_file_compares_schedules_on_two_tables(results: dict[str, Any]) -> None:
    assert (results["complete"], results["missing"]) == (True, [])
    assert [c["name"] for c in results["candidates"]] == [
        "linear · proportional",
        "rlw · proportional",
        "uncertainty · proportional",
        "linear · temperature (alpha=0.0)",
        "uncertainty · temperature (alpha=0.0)",
    ]
    assert not any(c["failed"] for c in results["candidates"])
    assert set(results["single_task"]) == {"cultivar", "strong", "ash"} == set(results["boosting"])
    first, second = results["dataset"]["sets"]
    assert (first["data"], first["rows"]["train"], first["batch_size"]) == ("first", 78, 32)
    assert (second["data"], second["rows"]["train"], second["batch_size"]) == ("second", 48, 16)
    assert results["verdict"]["tasks"]["ash"]["word"] != "undefined"


@pytest.mark.slow
def test_a_separate_network_takes_as_many_steps_as_one_that_shares(
    study: Path, results: dict[str, Any]
) -> None:
    steps = {}
    for name in ("single-cultivar", "single-ash", "hard_sharing-linear-proportional"):
        lines = (study / "runs" / f"{name}-lr0.01-s0" / "metrics.jsonl").read_text().splitlines()
        steps[name] = json.loads(lines[-1])["step"]
    # 3 batches each: an epoch of those that share has 6 steps, and there are 2.
    assert set(steps.values()) == {12}
    seen = {task: found["examples"][task] for task, found in results["single_task"].items()}
    assert seen == {"cultivar": 4 * 78, "strong": 4 * 48, "ash": 4 * 48}
    shared = results["candidates"][0]["examples"]
    assert shared["strong"] == shared["ash"]
    assert 0 < shared["cultivar"] < seen["cultivar"]
    curve = results["single_task"]["ash"]["curves"]
    assert curve["epochs"] == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.slow
def test_every_task_is_judged_on_test_rows_of_its_own(study: Path) -> None:
    data = load_data(study / "data")
    unit = json.loads((study / "runs" / "single-ash-lr0.01-s1" / "unit.json").read_text())
    other = study / "runs" / "hard_sharing-linear-proportional-lr0.01-s1" / "unit.json"
    alone = prepare(unit["config"], data)
    together = prepare(json.loads(other.read_text())["config"], data)
    target = together.parts["test"][1]["ash"].numpy()
    np.testing.assert_array_equal(target[~np.isnan(target)], alone.parts["test"][1]["ash"].numpy())


@pytest.mark.slow
def test_the_page_shows_the_data_sets_and_what_was_seen(study: Path) -> None:
    page = (study / "report.html").read_text()
    words = ("Data sets of their own", "What each data set holds", "What training has seen")
    data = ("strong and ash", "temperature (alpha=0.0)", "2 data sets (cultivar, strong+ash)")
    for said in (*words, *data):
        assert said in page


@pytest.mark.slow
def test_given_again_nothing_is_done_and_what_is_lost_is_done_again(study: Path) -> None:
    before = times(study)
    assert command(["compare", str(study / "study.yaml")]) == 0
    assert times(study) == before
    same = json.loads((study / "results.json").read_text())["candidates"]
    lost = study / "runs" / "hard_sharing-linear-temperature-alpha0.0-lr0.01-s1"
    shutil.rmtree(lost)
    assert command(["compare", str(study / "study.yaml")]) == 0
    changed = {f.parent.name for f, t in times(study).items() if before.get(f) != t}
    assert changed == {lost.name}
    again = json.loads((study / "results.json").read_text())["candidates"]
    assert [c["tasks"] for c in again] == [c["tasks"] for c in same]


@pytest.mark.slow
def test_one_more_schedule_runs_that_schedule_alone(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(study, out)
    before = times(out)
    words = ["--schedules", "proportional", "round_robin", "--methods", "linear", "--out", str(out)]
    assert command(["compare", str(study / "study.yaml"), *words]) == 0
    changed = {f.parent.name for f, t in times(out).items() if before.get(f) != t}
    assert changed
    assert all("round_robin" in name for name in changed)


@pytest.mark.slow
def test_changed_rows_are_refused_by_the_name_of_their_data_set(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load((study / "study.yaml").read_text())
    table = pd.read_csv(settings["data"]["cultivar"])
    table.loc[3, "hue"] += 1.0
    other = study.parent / "changed.csv"
    table.to_csv(other, index=False)
    before = times(study)
    data = json.dumps({**settings["data"], "cultivar": str(other)})
    assert command(["compare", str(study / "study.yaml"), "--data", data]) == 2
    said = capsys.readouterr().err
    assert "study of other data" in said
    assert "the rows of 'cultivar' have changed" in said
    assert times(study) == before


@pytest.mark.slow
def test_tables_in_memory_are_gone_on_with_from_what_the_study_saved(tmp_path: Path) -> None:
    one, other = wines()
    other["extra"] = 1
    words = {**SMALL, "seeds": 1, "epochs": 1, "tasks_per_step": "all", "methods": ["pcgrad"]}
    result = compare(
        {"cultivar": one, ("strong", "ash"): other},
        **words, targets=["ash:regression:auxiliary"], drop=["extra"], out=tmp_path / "out",
    )  # fmt: skip
    assert [c["id"] for c in result.results["candidates"]] == [
        "hard_sharing-linear-temperature-alpha0.5",
        "hard_sharing-rlw-temperature-alpha0.5",
        "hard_sharing-pcgrad-temperature-alpha0.5",
    ]
    assert result.results["conflict"], "steps of several tasks have gradients to compare"
    assert result.results["tasks"]["ash"]["role"] == "auxiliary"
    assert result.results["verdict"]["tasks"]["ash"]["word"] == "auxiliary"
    settings = yaml.safe_load((tmp_path / "out" / "study.yaml").read_text())
    assert settings["data"] == str(tmp_path / "out" / "data")
    assert "targets" not in settings
    before = times(tmp_path / "out")
    assert command(["compare", str(tmp_path / "out" / "study.yaml")]) == 0
    assert times(tmp_path / "out") == before


def small_encoder(spec: Any) -> Any:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU())


def signals(task: str, rows: int, kind: Any = "regression") -> Dataset:
    draw = np.random.default_rng(rows)
    x = draw.normal(size=(rows, 3)).astype("float32")
    target = x.sum(1) if kind == "regression" else (x[:, 0] > 0).astype("int64")
    return Dataset(task, {"signal": x}, {task: target}, {task: Task(task, kind)})


def test_data_sets_of_any_inputs_run_in_this_process(tmp_path: Path) -> None:
    data = {"sum": signals("sum", 120), "sign": signals("sign", 60, "binary")}
    result = compare(
        data, encoder=small_encoder, schedules=["uniform", "active"], seeds=1, epochs=2, lr=1e-2,
        batch_size=16, progress=False, out=tmp_path / "out",
    )  # fmt: skip
    assert result.complete
    assert [c["label"] for c in result.results["candidates"]] == [
        "linear · uniform",
        "linear · active",
    ]
    assert not any(c["failed"] for c in result.results["candidates"])
    assert result.results["boosting"] is None


@pytest.mark.slow
def test_a_dry_run_plans_the_schedules(tmp_path: Path) -> None:
    one, other = wines()
    found = compare({"cultivar": one, "strong, ash": other}, **SMALL, schedules=SCHEDULES,
                    methods=["uncertainty"], dry_run=True, out=tmp_path / "out")  # fmt: skip
    plan = found.results["plan"]
    assert plan["runs"] == (NETWORKS + 1) * 2 + 3 * 2
    assert len(plan["networks"]) == NETWORKS + 1
    assert not (tmp_path / "out").exists()


def columns(spec: Any) -> Any:
    """An encoder that is an object: such a study starts no processes."""
    return nn.Sequential(nn.Linear(spec.numeric, 8), nn.ReLU())


SAME: dict[str, Any] = {"encoder": columns, "epochs": 1, "progress": False}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"distill": "single_task"}, "distill: .* data names several"),
        ({"auxiliary": ["rotation"]}, "auxiliary: .* data names several"),
        ({"test": "other.csv"}, "test: .* data names several"),
        ({"schedules": ["round_robbin"]}, "did you mean 'round_robin'"),
        ({"schedules": [{"temperature": {"alpha": -1}}]}, "alpha"),
        ({"schedules": ["blocked"], "tasks_per_step": 2}, "Blocked orders single tasks"),
        ({"schedules": ["uniform", "active"], "tasks_per_step": "all"}, "no schedule is asked"),
        ({"schedules": ["most_conflict"]}, "follows Gramians"),
        ({"schedules": [{"round_robin": {"turns": {"x": 2}}}]}, "task in turns"),
        ({"tasks_per_step": 3}, "from 1 to 2"),
        ({"tasks_per_step": "some"}, "tasks_per_step: expected 'all' or a whole number"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
        ({"batch_size": {"cultivar": 0}}, "batch_size"),
        ({"batch_size": {"hue": 8}}, "data set in batch_size: 'hue'"),
        ({"methods": [{"olaux": {"main": "x"}}]}, "olaux|main"),
        ({"val_fraction": 0.0}, "the part 'val' of the data set of 'cultivar'"),
        ({"targets": ["strong:regression"]}, "strong"),
        ({"drop": ["hue"], "targets": ["hue:regression"]}, "hue"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    words: dict[str, Any], message: str, tmp_path: Path
) -> None:
    one, other = wines()
    out = tmp_path / "out"
    with pytest.raises(UserError, match=message):
        compare({"cultivar": one, "strong, ash": other}, **{**SAME, **words}, out=out)
    assert not out.exists()


@pytest.mark.parametrize("word", ["schedules", "tasks_per_step", "steps_per_epoch"])
def test_words_of_several_data_sets_are_refused_with_one(word: str, tmp_path: Path) -> None:
    value: Any = {"schedules": "uniform"}.get(word, 2)
    with pytest.raises(UserError, match=f"{word}: it says how several data sets are mixed"):
        compare("digits", **SAME, **{word: value}, out=tmp_path)
    with pytest.raises(UserError, match="batch_size: expected a whole number"):
        compare("digits", **SAME, batch_size={"digit": 3}, out=tmp_path)


def test_one_task_in_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one task"):
        compare(
            {
                "cultivar": wines()[0],
            },
            **SAME,
            out=tmp_path / "out",
        )


@pytest.mark.parametrize("study", [polytask.relate, polytask.pareto, polytask.select_auxiliaries])
def test_other_studies_refuse_several_data_sets(study: Callable[..., Any], tmp_path: Path) -> None:
    one, other = wines()
    words = {"main": "ash"} if study is polytask.select_auxiliaries else {}
    with pytest.raises(UserError, match="expected one data set, found 2 by task"):
        study({"cultivar": one, "strong, ash": other}, **words, out=tmp_path / "out")


def test_a_flag_without_several_data_sets_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["compare", "--data", "digits", "--schedules", "uniform", "--out", str(tmp_path / "o")]
    assert command(words) == 2
    assert "--schedules is for several data sets" in capsys.readouterr().err
    assert command(["relate", "--data", "{a: one.csv, b: two.csv}", "--out", "o"]) == 2


@pytest.mark.slow
def test_a_killed_study_ends_with_the_same_scores(
    study: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["compare", str(study.parent / "study.yaml"), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "polytask", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    late = time.monotonic() + 300
    try:
        while not list(out.glob("runs/hard*/metrics.jsonl")) and time.monotonic() < late:
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert list(out.glob("runs/single-*/result.json"))
    assert not (out / "results.json").exists()
    assert command(words) == 0
    again = json.loads((out / "results.json").read_text())
    assert again["complete"]
    assert [c["tasks"] for c in again["candidates"]] == [c["tasks"] for c in results["candidates"]]
