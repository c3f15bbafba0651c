"""Distilled candidates in real studies: their teachers, a kill, encoders as objects, the flag."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml
from study_simulation import TARGETS
from torch import nn

import polytask
from polytask.cli import run as command
from polytask.cli._distill import teachers
from polytask.data import table_dataset
from polytask.errors import UserError
from polytask.study import compare
from polytask.study import unit as unit_runs
from polytask.study.distillation import distillation
from polytask.study.folder import read_json
from polytask.study.unit import prepare, run_folder
from polytask.training import Callback
from polytask.training._weights import load_weights

SMALL = {
    "targets": TARGETS,
    "methods": ["linear"],
    "encoder": {"mlp": {"hidden": [16]}},
    "seeds": 2,
    "epochs": 3,
    "batch_size": 64,
    "lr": [1e-3, 1e-2],
    "workers": 2,
    "progress": False,
}
DISTILLED = "hard_sharing-linear-distilled"


@pytest.fixture(scope="module")
def study(patients, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "patients"
    return compare(patients, **SMALL, out=out, distill={"from": "single_task"})


@pytest.mark.slow
def test_a_study_with_distillation_from_data_to_report(study):
    results = study.results
    assert (results["complete"], results["missing"]) == (True, [])
    assert not list(study.folder.glob("runs/*/error.json"))
    names = [c["name"] for c in results["candidates"]]
    assert names == ["linear", "rlw", "linear, distilled"]
    taught = results["candidates"][2]
    assert taught["id"] == DISTILLED
    assert taught["cost"]["relative"] > 1
    assert len([v for v in taught["delta_m"]["test"] if v is not None]) == 2
    page = study.report.read_text()
    assert "linear, distilled" in page
    assert "must be trained first" in page
    assert [c["architecture"] for c in results["conflict"]] == ["hard_sharing"]
    written = yaml.safe_load((study.folder / "study.yaml").read_text())
    assert written["distill"] == {"from": "single_task"}


@pytest.mark.slow
def test_teachers_are_the_networks_of_the_study(study, patients):
    """Those of the same seed, at their chosen rate, with the weights of their own runs."""
    single = {task: entry["lr"] for task, entry in study.results["single_task"].items()}
    dataset = table_dataset(patients, TARGETS)
    runs = study.folder / "runs"
    for folder in runs.glob(f"{DISTILLED}-*"):
        config = read_json(folder / "unit.json")["config"]
        teachers = config["distill"]["teachers"]
        assert {t: run["run"] for t, run in teachers.items()} == {
            t: f"single-{t}-lr{lr:g}-s{config['seed']}" for t, lr in single.items()
        }
        prepared = prepare(config, dataset)
        made = distillation(config, prepared, None, runs)
        for task, (network,) in made.teachers.items():
            kept = load_weights(runs / teachers[task]["run"] / "model.safetensors")
            assert all(torch.equal(v, kept[k]) for k, v in network.state_dict().items())
        # the teacher gives here what it was judged by: units and columns are the same
        trainer = polytask.Trainer(
            made.teachers["high"][0], {"high": prepared.tasks["high"]}, progress=False
        )
        scores = trainer.evaluate(prepared.judging("test", 64), "test")
        ended = read_json(runs / teachers["high"]["run"] / "result.json")
        assert scores["test/high/auroc"] == ended["selected"]["test"]["high"]


@pytest.mark.slow
def test_adding_the_word_repeats_nothing(study, patients, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(study.folder, out)
    for folder in out.glob("runs/*distilled*"):
        shutil.rmtree(folder)
    before = {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*")}
    again = compare(patients, **SMALL, out=out, distill="single_task")
    assert {f: f.stat().st_mtime_ns for f in before} == before
    theirs, ours = study.results["candidates"][2], again.results["candidates"][2]
    assert ours["tasks"] == theirs["tasks"]  # the same bits
    # other options are other runs
    more = compare(
        patients, **SMALL, out=out, distill={"from": "single_task", "form": "soft", "weight": 1.0}
    )
    assert more.results["candidates"][2]["tasks"] != theirs["tasks"]
    assert more.results["candidates"][0]["tasks"] == again.results["candidates"][0]["tasks"]


@pytest.mark.slow
def test_a_killed_distilled_run_ends_with_the_same_numbers(study, tmp_path, monkeypatch):
    """Taken up in the middle of its training: `state.safetensors` and no result."""
    out = tmp_path / "copy"
    shutil.copytree(study.folder, out)
    (folder,) = out.glob(f"runs/{DISTILLED}-*-s1")
    unit, whole = read_json(folder / "unit.json"), read_json(folder / "result.json")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "unit.json").write_text(json.dumps({**unit, "how": {"checkpoint_every": 0}}))

    class Cut(BaseException):
        pass

    class CutAfter(Callback):
        left = 7

        def on_batch_begin(self, trainer, batch_index):
            self.left -= 1
            if self.left < 0:
                raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(unit_runs, "_recorders", lambda config: [CutAfter()])
        with pytest.raises(Cut):
            run_folder(folder)
    assert (folder / "state.safetensors").exists()
    run_folder(folder)
    again = read_json(folder / "result.json")
    assert {k: v for k, v in again.items() if k != "seconds"} == {
        k: v for k, v in whole.items() if k != "seconds"
    }


@pytest.mark.slow
def test_a_teacher_that_was_changed_is_not_learned_from(study, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(study.folder, out)
    (folder,) = out.glob(f"runs/{DISTILLED}-*-s1")
    (other,) = out.glob("runs/single-high-*-s1")
    unit = read_json(other / "unit.json")
    (other / "unit.json").write_text(json.dumps({**unit, "hash": "0" * 16}))
    for name in ("result.json", "run.json"):
        (folder / name).unlink()
    run_folder(folder)
    assert "what is there is another run" in read_json(folder / "error.json")["error"]


def table_encoder(spec):
    class Columns(nn.Module):
        takes_dict = True
        output_size = 8

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(spec.numeric, 8)

        def forward(self, x):
            return self.layer(x["numeric"]).relu()

    return Columns()


@pytest.mark.slow
def test_an_encoder_given_as_a_function_is_rebuilt(patients, tmp_path):
    small = SMALL | {"encoder": table_encoder, "seeds": 1, "lr": 1e-2, "workers": None}
    features = {"from": "single_task", "form": "features"}
    result = compare(patients, **small, out=tmp_path / "out", distill=features)
    assert result.complete
    assert not list(result.folder.glob("runs/*/error.json"))


def test_what_cannot_be_is_said_before_anything_is_trained(patients, tmp_path):
    def refused(said, **changes):
        with pytest.raises(UserError, match=said):
            compare(patients, **(SMALL | changes), out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    refused("did you mean 'annealed'", distill={"from": "single_task", "form": "anealed"})
    refused(
        "temperature must be a number above 0", distill={"from": "single_task", "temperature": 0}
    )
    several = {"from": "single_task", "form": "features"}
    refused(
        "cross_stitch with linear: .*one shared representation",
        architectures=["cross_stitch"],
        distill=several,
    )


def test_the_flag_and_the_file_say_the_same():
    wanted = {"from": "single_task", "form": "soft", "temperature": 2}
    flags = ["from=single_task", "form=soft", "temperature=2"]
    assert teachers(flags, "--distill") == teachers(wanted, "distill") == wanted
    assert teachers({**wanted, "temperature": "2"}, "distill") == wanted
    for alone in (["single_task"], ["from=single_task"], {"from": "single_task"}):
        assert teachers(alone, "--distill") == {"from": "single_task"}


@pytest.mark.slow
def test_a_dry_run_from_a_file(patients, tmp_path, capsys):
    table, file = tmp_path / "patients.csv", tmp_path / "study.yaml"
    patients.to_csv(table, index=False)
    file.write_text("methods: linear\nlr: 0.01\ndistill: {from: single_task, form: soft}\n")
    line = ["compare", str(file), "--data", str(table), "--targets", *TARGETS, "--dry-run"]
    assert command([*line, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert [network["id"] for network in plan["networks"]][-1] == DISTILLED
    assert all("error" not in network for network in plan["networks"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["from=hard_sharing"], "--distill: distill: expected from: single_task"),
        (["form=soft"], "Say whom to learn from"),
        (["from=single_task", "form=sofd"], "did you mean 'soft'"),
        (["from=single_task", "from=single_task"], "given twice"),
        (["from=single_task", "form="], "each once, found 'form='"),
    ],
)
def test_flags_that_cannot_be(words, said, capsys):
    assert command(["compare", "--data", "digits", "--distill", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
