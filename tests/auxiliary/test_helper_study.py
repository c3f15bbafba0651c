"""Constructed helpers in a study: which runs there are, what a run sees, what the report says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes

import polytask
from polytask.architectures import create_encoder
from polytask.data import Dataset, load_dataset, table_dataset
from polytask.errors import UserError
from polytask.report import write_report
from polytask.report.terminal import print_verdict
from polytask.study import setup
from polytask.study.analysis import analyse
from polytask.study.plan import Plan
from polytask.study.settings import Choice, Settings, choose_auxiliary
from polytask.study.unit import prepare

RECIPES = choose_auxiliary(["rotation", {"reconstruction": {"loss": "l1"}}])


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits").subset(np.arange(400))


def settings(dataset: Dataset, auxiliary: tuple[Choice, ...] = ()) -> Settings:
    return Settings(
        name=dataset.name,
        tasks=setup.task_facts(dataset, auxiliary),
        fingerprint=setup.fingerprint(dataset),
        methods=(Choice("linear"), Choice("rlw"), Choice("pcgrad")),
        architectures=(Choice("hard_sharing"),),
        encoder=Choice("resnet"),
        seeds=2,
        lr=(1e-3,),
        auxiliary=auxiliary,
    )


def test_helpers_join_the_networks_that_share(digits: Dataset) -> None:
    plain, helped = Plan(settings(digits)), Plan(settings(digits, RECIPES))
    assert [c.tasks for c in helped.singles] == [("digit",), ("parity",), ("size",)]
    names = ("digit", "parity", "size", "rotation", "reconstruction")
    assert all(c.tasks == names for c in helped.candidates)
    assert helped.settings.judged == helped.settings.counted == names[:3]
    # Networks without helpers are the same runs, with or without a study of helpers around.
    for before, after in zip(plain.contenders, helped.contenders, strict=True):
        same = plain.probe(before).hash == helped.probe(after).hash
        assert same == before.single
        assert "auxiliary" not in plain.probe(before).config
    config = helped.probe(helped.candidates[0]).config
    assert config["auxiliary"][1] == {"name": "reconstruction", "arguments": {"loss": "l1"}}


def test_the_seed_of_a_run_is_that_of_its_helpers(digits: Dataset) -> None:
    plan = Plan(settings(digits, choose_auxiliary({"rotation": {"share": 0.2}})))
    config = plan.probe(plan.candidates[0]).config
    one, same = (prepare(config, digits).parts["train"][1]["rotation"] for _ in range(2))
    assert one.equal(same)
    other = prepare({**config, "seed": 1}, digits).parts["train"][1]["rotation"]
    assert not one.equal(other)


def test_held_out_parts_and_preprocessing_do_not_know_of_helpers(digits: Dataset) -> None:
    plain, helped = Plan(settings(digits)), Plan(settings(digits, RECIPES))
    without = prepare(plain.probe(plain.candidates[0]).config, digits)
    prepared = prepare(helped.probe(helped.candidates[0]).config, digits)
    assert prepared.spec == without.spec
    for part in ("val", "test"):
        assert prepared.parts[part][0]["image"].equal(without.parts[part][0]["image"])
        for task in digits.tasks:
            assert prepared.parts[part][1][task].equal(without.parts[part][1][task])
            assert prepared.tasks[task] == without.tasks[task]
    train, before = prepared.parts["train"], without.parts["train"]
    assert len(train[0]["image"]) == 4 * len(before[0]["image"])
    ours = train[1]["digit"] >= 0
    assert int(ours.sum()) == len(before[1]["digit"])
    # Mixed: what is timed on the first rows has every task in it.
    assert 0.1 < float(ours[:100].float().mean()) < 0.5
    assert (train[1]["rotation"][ours] == 0).all()
    # The rows that were there are read the same, whatever the copies look like.
    mine = train[0]["image"][ours].reshape(int(ours.sum()), -1)
    theirs = before[0]["image"].reshape(len(mine), -1)
    assert mine.sum(1).sort().values.equal(theirs.sum(1).sort().values)
    assert (prepared.parts["val"][1]["rotation"] == -100).all()


def test_without_new_rows_the_order_stays(digits: Dataset) -> None:
    plan = Plan(settings(digits, choose_auxiliary("reconstruction")))
    without = prepare(Plan(settings(digits)).probe(plan.singles[0]).config, digits)
    prepared = prepare(plan.probe(plan.candidates[0]).config, digits)
    assert prepared.parts["train"][0]["image"].equal(without.parts["train"][0]["image"])


def simulated(plan: Plan) -> dict[str, Any]:
    """Outcomes by a formula: a helper without labels is undefined, others have a score."""
    outcomes: dict[str, Any] = {
        probe.hash: {"step_seconds": 0.01, "parameters": 9, "load": 0.0} for probe in plan.probes()
    }
    while ready := plan.startable(outcomes):
        for unit in ready:
            seed, single = unit.config["seed"], len(unit.config["tasks"]) == 1
            score = 0.5 + 0.01 * seed + 0.1 * (not single)
            scores: dict[str, Any] = dict.fromkeys(unit.config["tasks"], score)
            scores |= {"rotation": {"undefined": "no labelled item"}} if not single else {}
            block = {"epoch": 1, "val": scores, "test": scores}
            rows = {t: [v] for t, v in scores.items()}
            outcomes[unit.hash] = {
                "kind": "train", "selected": block, "equal_time": block, "curves": rows,
                "weights": {t: [1.0] for t in scores}, "seconds": 1.0,
            }  # fmt: skip
    return outcomes


def test_results_have_no_gain_where_nothing_is_compared(digits: Dataset, tmp_path: Path) -> None:
    plan = Plan(settings(digits, RECIPES))
    facts = {
        "tasks": {t: {**f, "trivial": 0.1} for t, f in plan.settings.tasks.items()},
        "dataset": {"name": "digits", "n": 400, "rows_with_helpers": 4.0},
        "redrawn": 0.2,
    }
    results = analyse(plan, facts, simulated(plan))
    assert results["complete"]
    assert list(results["single_task"]) == ["digit", "parity", "size"]
    for candidate in results["candidates"]:
        rotation, rebuilt = (candidate["tasks"][t] for t in ("rotation", "reconstruction"))
        assert rotation["mean"] == {"undefined": "no labelled item"}
        assert rebuilt["mean"] == pytest.approx(0.605)
        assert rotation["gain_mean"] is rebuilt["gain_mean"] is None
        assert candidate["delta_m"]["mean"] == pytest.approx(19.8, abs=0.2)
        assert not candidate["delta_m"]["left_out"]
        assert candidate["mean_rank"] > 0
    assert results["verdict"]["tasks"]["rotation"]["word"] == "auxiliary"
    remark = next(r for r in results["remarks"] if "train helpers" in r)
    assert "rotation and reconstruction (loss=l1), with 4.0 times the rows" in remark
    page = write_report(results | {"polytask": "0", "name": "digits"}, tmp_path / "report.html")
    assert "reconstruction" in page.read_text()


def encoder(spec: Any) -> torch.nn.Module:
    return create_encoder("resnet", spec, width=4, blocks=(1,))


SMALL: dict[str, Any] = {
    "methods": ["linear"],
    "seeds": 2,
    "epochs": 2,
    "lr": 1e-3,
    "progress": False,
}


@pytest.fixture(scope="module")
def study(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    data = replace(
        digits,
        tasks={name: digits.tasks[name] for name in ("digit", "parity")},
        targets={name: digits.targets[name] for name in ("digit", "parity")},
    )
    out = tmp_path_factory.mktemp("study") / "digits"
    auxiliary = [{"rotation": {"share": 0.3}}, "reconstruction"]
    return polytask.compare(data, auxiliary=auxiliary, encoder=encoder, out=out, **SMALL)


@pytest.mark.slow
def test_a_study_with_helpers(study: Any, capsys: pytest.CaptureFixture[str]) -> None:
    results = study.results
    assert results["complete"]
    assert not list(study.folder.glob("runs/*/error.json"))
    assert list(results["single_task"]) == ["digit", "parity"]
    assert list(results["tasks"]) == ["digit", "parity", "rotation", "reconstruction"]
    for candidate in results["candidates"]:
        rotation, rebuilt = (candidate["tasks"][t] for t in ("rotation", "reconstruction"))
        # Never a number without a label; a number without a comparison has no gain.
        assert rotation["mean"] == {"undefined": "no labelled item"}
        assert rebuilt["mean"] > 0
        assert rotation["gain_mean"] is rebuilt["gain_mean"] is None
        assert isinstance(candidate["delta_m"]["mean"], float)
        assert not candidate["delta_m"]["left_out"]
    word = results["verdict"]["tasks"]["rotation"]
    assert word["word"] == "auxiliary"
    assert "not judged" in word["sentence"]
    remark = next(r for r in results["remarks"] if "train helpers" in r)
    assert "rotation (share=0.3)" in remark
    assert "1.9 times the rows" in remark
    print_verdict(results)
    said = capsys.readouterr().out
    assert "rotation is undefined" not in said
    assert "auxiliary" in said
    page = study.report.read_text()
    assert "reconstruction" in page


@pytest.mark.slow
def test_what_it_writes_asks_for_the_same_again(study: Any) -> None:
    import yaml

    again = yaml.safe_load((study.folder / "study.yaml").read_text())
    assert again["auxiliary"] == [{"rotation": {"share": 0.3}}, "reconstruction"]
    assert choose_auxiliary(again["auxiliary"])[0].arguments == {"share": 0.3}
    stored = json.loads((study.folder / "fingerprint.json").read_text())
    assert stored["targets"] == ["digit:multiclass", "parity:binary"]


@pytest.mark.slow
def test_a_table_with_a_reversed_and_a_hidden_column(tmp_path: Path) -> None:
    frame = load_diabetes(as_frame=True).frame
    frame["sex"] = np.where(frame["sex"] > 0, "f", "m")
    auxiliary = [
        {"nuisance": {"of": "sex", "strength": 0.5}},
        {"predicting_inputs": {"columns": ["s1"]}},
        {"quantised": {"of": "target", "bins": 3}},
    ]
    dataset = table_dataset(frame, ["target:regression"])
    out = tmp_path / "patients"

    def small(spec: Any) -> torch.nn.Module:
        return create_encoder("mlp", spec, hidden=(8,))

    study = polytask.compare(
        dataset, auxiliary=auxiliary, encoder=small, out=out, **{**SMALL, "epochs": 3}
    )
    assert study.complete
    assert not list(out.glob("runs/*/error.json"))
    tasks = study.results["candidates"][0]["tasks"]
    assert list(tasks) == ["target", "sex_nuisance", "input_s1", "target_bins"]
    assert 0 < tasks["sex_nuisance"]["mean"] < 1
    assert list(study.results["boosting"]) == ["target"]


def test_mistakes_are_found_before_anything_is_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(60.0), "y": np.arange(60.0) % 4, "z": np.arange(60.0)})
    data = table_dataset(frame, ["y:regression", "z:regression"])
    cases: list[tuple[Any, str]] = [
        ("rotatoin", "did you mean 'rotation'"),
        ({"quantised": {"bin": 3}}, "did you mean 'bins'"),
        ({"quantised": {"bins": "three"}}, "whole number"),
        ("rotation", "no images"),
        ([{"quantised": {"of": "y", "bins": 30}}], r"Take fewer bins. \(training rows of seed 0"),
        ([{"hints": {"of": "y"}}, {"hints": {"of": "y", "quantile": 0.2}}], "one of that name"),
    ]
    for auxiliary, message in cases:
        out = tmp_path / "study"
        with pytest.raises(UserError, match=message):
            polytask.compare(data, auxiliary=auxiliary, out=out, workers=1, **SMALL)
        assert not (out / "runs").exists()
