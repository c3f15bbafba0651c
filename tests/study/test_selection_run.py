"""Whole selections on real data: results, resuming, early errors, and the two that must come out.

A helper that is a copy of the main target must help where the main task has few labels; one with
shuffled labels must not.
"""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torch import nn

import polytask
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.study import StudyResult, select_auxiliaries
from polytask.tasks import Task

TARGETS = ["progression:regression", "high:binary", "s5:regression", "bp:regression"]
SMALL = {
    "main": "progression",
    "targets": TARGETS,
    "auxiliary": [{"quantised": {"of": "progression", "bins": 3}}],
    "finalists": 1,
    "rounds": 6,
    "encoder": {"mlp": {"hidden": [16]}},
    "seeds": 2,
    "epochs": 3,
    "batch_size": 64,
    "lr": 1e-2,
    "workers": 2,
    "progress": False,
}


def times(out):
    return {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*")}


@pytest.fixture(scope="module")
def study(patients, tmp_path_factory):
    return select_auxiliaries(patients, **SMALL, out=tmp_path_factory.mktemp("selection") / "out")


@pytest.mark.slow
def test_from_data_to_verdict(study):
    assert isinstance(study, StudyResult)
    results = study.results
    assert results == json.loads((study.folder / "results.json").read_text())
    assert (results["kind"], results["schema"], results["main"]) == ("auxiliary", 1, "progression")
    assert (results["complete"], results["missing"]) == (True, [])
    assert not list(study.folder.glob("runs/*/error.json"))
    screened = results["screen"]["helpers"]
    assert {entry["task"] for entry in screened} == {"high", "s5", "bp", "progression_bins"}
    assert [entry["finalist"] for entry in screened] == [True, False, False, False]
    # The first of six rounds has nothing to be compared with.
    pulled = sum(entry["bandit"]["pulls"] for entry in screened)
    assert 0 < pulled <= 5
    assert all(entry["labels"]["labelled"] > 0.6 for entry in screened)
    assert results["tasks"]["progression_bins"]["constructed"]
    (finalist,) = results["finalists"]
    assert [entry["helpers"] for entry in results["sets"]][:2] == [[], [finalist]]
    assert len(results["sets"]) == 3
    assert len(results["sets"][1]["gain"]) == 2
    for entry in results["sets"]:
        assert entry["cost"]["step_seconds"] > 0
        assert entry["lr"] == 1e-2
        assert entry["failed"] == []
    planned = results["cost"]["screen"]["runs"] + results["cost"]["proof"]["runs"]
    assert planned == results["cost"]["planned"] == 3 * 2 + 1
    assert results["verdict"]["helpers"][finalist]["word"] in (
        "leans helps", "leans hurts", "no evidence",
    )  # fmt: skip
    assert study.verdict == results["verdict"]["sentence"]
    page = study.report.read_text()
    assert "which helper tasks help progression?" in page


@pytest.mark.slow
def test_the_same_call_does_nothing_and_only_what_is_lost_is_run_again(study, patients):
    before = times(study.folder)
    again = select_auxiliaries(patients, **SMALL, out=study.folder)
    assert times(study.folder) == before
    assert {k: v for k, v in again.results.items() if k != "created"} == {
        k: v for k, v in study.results.items() if k != "created"
    }
    lost = study.folder / "runs" / "trial" / "result.json"
    lost.unlink()
    repeated = select_auxiliaries(patients, **SMALL, out=study.folder)
    changed = {f.parent.name for f, t in times(study.folder).items() if before.get(f) != t}
    assert changed == {"trial"}
    # Its training had finished, and was only read again.
    told = [result.results["screen"]["helpers"] for result in (study, repeated)]
    assert told[0] == told[1]


@pytest.mark.slow
def test_a_study_in_this_process_alone_and_a_time_limit(patients, tmp_path):
    def encoder(spec):
        layer = nn.Sequential(nn.Linear(spec.numeric, 8), nn.ReLU())
        layer.output_size = 8
        return layer

    settings = SMALL | {"encoder": encoder, "max_time": 0.01, "auxiliary": ()}
    found = select_auxiliaries(patients, **settings, out=tmp_path / "out")
    assert not found.complete
    assert found.verdict.startswith("No verdict yet")
    assert "screen" in " ".join(found.results["missing"])


def test_what_is_wrong_is_said_before_anything_is_trained(patients, tmp_path):
    out = tmp_path / "out"
    for changes, said in (
        ({"main": "progresion"}, "did you mean 'progression'"),
        ({"candidates": ["hihg"]}, "did you mean 'high'"),
        ({"candidates": ["progression"]}, "cannot be its own helper"),
        ({"targets": TARGETS[:1], "auxiliary": ()}, "expected at least one helper task"),
        ({"auxiliary": ["quantized"]}, "did you mean 'quantised'"),
        ({"auxiliary": [{"quantised": {"of": "sex"}}]}, "regression target for quantised"),
        ({"method": ["linear", "gcs"]}, "expected one, found 2"),
        ({"method": {"gcs": {"mian": "high"}}}, "did you mean 'main'"),
        ({"method": {"gcs": {"main": "hgih"}}}, "did you mean 'high'"),
        ({"architecture": "single_task"}, "shares nothing"),
        ({"finalists": 0}, "finalists: expected a whole number above 0"),
        ({"rounds": 0}, "rounds: expected a whole number above 0"),
        ({"seeds": 0}, "seeds: expected"),
        ({"finalist": 2}, "did you mean 'finalists'"),
    ):
        with pytest.raises(UserError, match=said):
            select_auxiliaries(patients, **(SMALL | changes), out=out)
    assert not out.exists()


@pytest.fixture(scope="module")
def digits():
    """60 of 1000 training images with a digit; helpers: all the digits, and digits shuffled."""
    data, digit = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    order = random.permutation(len(digit))
    train, val, test = np.split(order, [1000, 1300])
    main = digit.astype(np.int64)
    main[train[60:]] = -100
    targets = {"shuffled": random.permutation(digit), "copy": digit, "digit": main}
    return Dataset(
        name="digits",
        inputs={"numeric": data.astype(np.float32)},
        targets=targets,
        tasks={name: Task(name, "multiclass", classes=tuple(range(10))) for name in targets},
        fixed_split={"train": train, "val": val, "test": test},
    )


@pytest.mark.slow
def test_a_copy_of_a_main_task_with_few_labels_helps_and_shuffled_labels_do_not(digits, tmp_path):
    found = polytask.select_auxiliaries(
        digits, main="digit", epochs=12, lr=3e-3, batch_size=128, workers=2, progress=False,
        encoder={"mlp": {"hidden": [64]}}, out=tmp_path / "out",
    )  # fmt: skip
    words = {t: entry["word"] for t, entry in found.results["verdict"]["helpers"].items()}
    assert words["copy"] == "helps"
    assert words["shuffled"] != "helps"
    assert "copy" in found.results["recommended"]["helpers"]
    assert found.results["recommended"]["versus_none"]["word"] == "helps"
    copy = found.results["helpers"]["copy"]
    assert copy["add"]["mean"] > 5
    assert copy["leave"]["word"] == "helps"
    assert found.verdict.startswith("Train digit with copy")
    agreement = {e["task"]: e["agreement"] for e in found.results["screen"]["helpers"]}
    assert agreement["copy"]["cosine"] > agreement["copy"]["null"]
