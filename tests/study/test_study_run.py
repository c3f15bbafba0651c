"""Whole studies on real data: results, nothing done twice, interruptions, early errors."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from study_simulation import TARGETS
from torch import nn

import polytask
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.study import StudyResult, compare
from polytask.tasks import Metric, Task

SMALL = {
    "targets": TARGETS,
    "methods": ["linear", {"pcgrad": {"heads": "plain"}}],
    "encoder": {"mlp": {"hidden": [16]}},
    "seeds": 2,
    "epochs": 2,
    "batch_size": 64,
    "lr": [1e-3, 1e-2],
    "workers": 2,
    "progress": False,
}
RUNS = 5 * (2 + 1) + 2 * 2 + 5  # networks x (rates + further seeds), boosting, probes


def times(out):
    return {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*")}


@pytest.fixture(scope="module")
def study(patients, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "patients"
    return compare(patients, **SMALL, out=out)


@pytest.mark.slow
def test_a_study_from_data_to_verdict(study):
    assert isinstance(study, StudyResult)
    results = study.results
    assert results == json.loads((study.folder / "results.json").read_text())
    assert (results["complete"], results["missing"], study.complete) == (True, [], True)
    assert len(list(study.folder.glob("runs/*/result.json"))) == RUNS
    assert not list(study.folder.glob("runs/*/error.json"))
    assert [c["id"] for c in results["candidates"]] == [
        "hard_sharing-linear", "hard_sharing-rlw", "hard_sharing-pcgrad-headsplain",
    ]  # fmt: skip
    assert set(results["tasks"]) == set(results["single_task"]) == set(results["boosting"])
    assert results["tasks"]["high"]["metric"] == "auroc"
    assert results["tasks"]["high"]["trivial"] == pytest.approx(0.5)
    assert results["dataset"]["labelled"]["high"] == pytest.approx(0.7, abs=0.05)
    assert results["interval"]["test_redrawn"] is True
    for candidate in results["candidates"]:
        assert candidate["lr"] in (1e-3, 1e-2)
        assert len(candidate["delta_m"]["test"]) == 2
        assert candidate["cost"]["step_seconds"] > 0
        assert len(candidate["curves"]["high"]["val"]) == 2
        assert set(candidate["weights"]) == {"progression", "high"}
        assert (
            candidate["equal_time"]["delta_m"]["low"] < candidate["equal_time"]["delta_m"]["high"]
        )
    assert results["candidates"][0]["cost"]["relative"] == pytest.approx(1.0)
    assert all(
        v["word"] in ("leans helps", "leans hurts", "no evidence")
        for v in results["verdict"]["tasks"].values()
    )
    assert study.verdict == str(study) == results["verdict"]["sentence"]
    assert results["chosen"] in [c["id"] for c in results["candidates"]]
    page = study.report.read_text()
    assert "<html" in page
    assert "progression" in page


@pytest.mark.slow
def test_run_again_does_nothing(study, patients):
    before = times(study.folder)
    again = compare(patients, **SMALL, out=study.folder)
    assert times(study.folder) == before
    ignored = {"created"}
    assert {k: v for k, v in again.results.items() if k not in ignored} == {
        k: v for k, v in study.results.items() if k not in ignored
    }


@pytest.mark.slow
def test_only_what_changed_is_run(study, patients, tmp_path):
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(study.folder, out)
    before = times(out)
    lost = out / "runs" / "hard_sharing-rlw-lr0.01-s0"
    shutil.rmtree(lost)
    (out / "runs" / "single-high-lr0.01-s0" / "result.json").write_text("{ cut off")
    more = SMALL | {"methods": ["linear", {"pcgrad": {"heads": "plain"}}, "mgda"]}
    result = compare(patients, **more, out=out)
    assert result.complete
    changed = {f.parent.name for f, t in times(out).items() if before.get(f) != t}
    assert lost.name in changed
    assert "single-high-lr0.01-s0" in changed
    assert all("mgda" in name for name in changed - {lost.name, "single-high-lr0.01-s0"})
    same = {c["id"]: c["tasks"]["high"]["test"] for c in result.results["candidates"]}
    for candidate in study.results["candidates"]:
        assert same[candidate["id"]] == candidate["tasks"]["high"]["test"]


def test_other_data_in_the_same_folder_is_refused(study, patients):
    before = times(study.folder)
    with pytest.raises(UserError, match="study of other data"):
        compare(patients.iloc[:300], **SMALL, out=study.folder)
    assert times(study.folder) == before


@pytest.mark.slow
def test_a_dry_run_plans_and_leaves_nothing(patients, tmp_path):
    out = tmp_path / "out"
    result = compare(patients, **SMALL, out=out, dry_run=True)
    plan = result.results["plan"]
    assert plan["runs"] == RUNS - 5
    assert plan["boosting_runs"] == 4
    assert plan["minutes"] > 0
    assert plan["disk_mb"] > 0
    assert all(network["step_seconds"] > 0 for network in plan["networks"])
    assert "Nothing has been trained" in result.verdict
    assert result.report is None
    assert not out.exists()


@pytest.mark.slow
def test_no_time_left_gives_incomplete_results(patients, tmp_path):
    result = compare(patients, **SMALL, out=tmp_path / "out", max_time=1e-3)
    assert not result.complete
    assert "hard_sharing-linear: learning-rate search at 0.001, 0.01" in result.results["missing"]
    assert result.verdict.startswith("No verdict yet")
    assert result.report.exists()


SCRIPT = """
import sys
print("the script runs")
import pandas as pd
import polytask

result = polytask.compare(
    pd.read_csv(sys.argv[1]), targets=["progression:regression", "high:binary"],
    methods=["linear"], encoder={"mlp": {"hidden": [8]}}, seeds=1, epochs=int(sys.argv[3]),
    lr=1e-2, workers=2, out=sys.argv[2],
)
print(result)
"""


@pytest.fixture
def script(patients, tmp_path):
    patients.to_csv(tmp_path / "patients.csv", index=False)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))

    def start(epochs):
        words = [str(tmp_path / name) for name in ("script.py", "patients.csv", "out")]
        process = subprocess.Popen(
            [sys.executable, *words, str(epochs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Also where these tests run in the background, for which shells turn Ctrl-C off.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    started = []
    yield start
    for process in started:  # a test that fails leaves nothing running
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_once(script, tmp_path):
    process = script(2)
    told, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert told.count("the script runs") == 1
    assert "eans" in told or "No evidence" in told
    assert json.loads((tmp_path / "out" / "results.json").read_text())["complete"]
    logs = [f.read_text() for f in (tmp_path / "out").glob("runs/*/log.txt")]
    assert len(logs) > 4
    assert not any("the script runs" in log for log in logs)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(script, tmp_path):
    runs = tmp_path / "out" / "runs"
    process = script(100_000)
    deadline = time.monotonic() + 200
    # a training has begun when the first epoch is written down
    while not list(runs.glob("single-*/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the same command goes on" in errors
    assert "Traceback" not in errors.split("KeyboardInterrupt")[-1]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert not results["complete"]
    probes = [f.parent.name for f in runs.glob("probe-*/result.json")]
    assert len(probes) == 4
    assert not list(runs.glob("single-*/result.json"))


def sines():
    """A data set that cannot be written to a file: one task has a metric of its own."""
    random = np.random.default_rng(0)
    x = random.normal(size=(240, 3)).astype("float32")
    return Dataset(
        "sines",
        {"signal": x},
        {"sum": x.sum(1), "sign": (x[:, 0] > 0).astype("int64")},
        {
            "sum": Task("sum", "regression", metrics=(Metric("spread", "min", spread), "rmse")),
            "sign": Task("sign", "binary"),
        },
    )


def spread(outputs, targets):
    return float((outputs - targets).abs().max())


def small_encoder(spec):
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU())


def test_an_encoder_given_as_a_callable_runs_in_this_process(tmp_path):
    settings = {"methods": ["linear"], "seeds": 2, "epochs": 2, "lr": 1e-2, "progress": False}
    out = tmp_path / "out"
    result = compare(sines(), **settings, encoder=small_encoder, out=out)
    assert result.complete
    assert result.results["tasks"]["sum"]["metric"] == "spread"
    assert result.results["boosting"] is None
    assert not (out / "data").exists()
    assert all(not c["failed"] for c in result.results["candidates"])
    before = times(out)
    assert compare(sines(), **settings, encoder=small_encoder, out=out).complete
    assert times(out) == before
    # A module is copied with its weights: another start, so other runs.
    module = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
    weights = module[0].weight.detach().clone()
    compare(sines(), **settings, encoder=module, out=out)
    assert times(out) != before
    assert (module[0].weight == weights).all()


def test_a_run_that_fails_here_does_not_stop_the_others(tmp_path):
    class Fragile(nn.Module):
        output_size = 3

        def __init__(self, broken):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.broken = broken

        def forward(self, x):
            if self.broken and self.training:
                raise MemoryError
            return self.layer(x)

    made = []

    def encoder(spec):
        made.append(len(made))
        return Fragile(broken=len(made) % 5 == 0)

    result = compare(
        sines(), methods=["linear"], seeds=3, epochs=1, lr=1e-2, encoder=encoder,
        out=tmp_path / "out", progress=False,
    )  # fmt: skip
    failed = [f for c in result.results["candidates"] for f in c["failed"]]
    failed += [f for s in result.results["single_task"].values() for f in s["failed"]]
    assert failed
    assert {f["cause"] for f in failed} == {"out of memory; use fewer workers or smaller batches"}
    assert result.complete


def test_a_folder_in_use_is_refused(patients, tmp_path):
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with (
        FileLock(tmp_path / "out" / ".lock"),
        pytest.raises(UserError, match="in use by another process"),
    ):
        compare(sines(), encoder=small_encoder, methods=["linear"], out=tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["pcgrd"]}, "did you mean 'pcgrad'"),
        ({"methods": [{"pcgrad": {"c": 0.4}}]}, "unknown argument of method pcgrad"),
        ({"methods": [{"linear": {"scale": "som"}}]}, "scale must be one of"),
        ({"architectures": ["hard"]}, "did you mean 'hard_sharing'"),
        ({"encoder": "mpl"}, "did you mean 'mlp'"),
        ({"encoder": {"mlp": {"hiden": [3]}}}, "did you mean 'hidden'"),
        ({"encoder": "resnet"}, "resnet"),
        ({"seeds": 0}, "seeds: expected a whole number above 0, found 0"),
        ({"epochs": 1.5}, "epochs: expected a whole number"),
        ({"lr": []}, "at least one learning rate"),
        ({"max_time": -1}, "max_time"),
        ({"split": "randon"}, "did you mean 'random'"),
        ({"split": "group:nothing"}, "nothing"),
        ({"test_fraction": 0.9, "val_fraction": 0.2}, "less than 1"),
        ({"val_fraction": 0}, "the part 'val' is empty"),
        ({"select": "main:nothing"}, "unknown task"),
        ({"statistic": "gramian"}, "statistic.*'gramian'"),
        ({"methods": [{"pcgrad": {"statistic": "tial"}}]}, "'tail'"),
        ({"optimizer": "adamm"}, "did you mean 'adam"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"targets": ["progresion"]}, "did you mean 'progression'"),
        ({"targets": None}, "which columns of table are to be predicted"),
        ({"drop": ["agee"]}, "did you mean 'age'"),
        ({"precision": "bf17"}, "did you mean 'bf16'"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(patients, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        compare(patients, **(SMALL | change), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("nowhere.csv", "nowhere.csv"),
        ({"digits": {"colour": True}}, "unknown argument of dataset digits"),
        (3, "found int"),
    ],
)
def test_data_that_is_not_there(data, message, tmp_path):
    with pytest.raises(UserError, match=message):
        compare(data, targets=["a"], out=tmp_path / "out")


def test_the_public_name_is_this_function():
    assert polytask.compare is compare
