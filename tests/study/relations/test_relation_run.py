"""Whole studies of relationships on real data: results, resuming, early errors, dry runs."""

import json

import numpy as np
import pytest
import yaml
from alone_networks import few_digits
from torch import nn

import polytask
from polytask.data import Dataset
from polytask.data.sets.digits import digits
from polytask.errors import UserError
from polytask.relationships import Affinity
from polytask.study import StudyResult, relate
from polytask.tasks import Task

SMALL = {
    "max_groups": 2,
    "randoms": 1,
    "encoder": {"mlp": {"hidden": [16]}},
    "seeds": 2,
    "epochs": 8,
    "batch_size": 64,
    "lr": 1e-2,
    "workers": 2,
    "progress": False,
}


@pytest.fixture(scope="module")
def numbers():
    """Four questions about 600 handwritten digits; one of them is a copy of another."""
    whole = digits()
    digit = whole.targets["digit"][:600]
    targets = {
        "parity": digit % 2,
        "odd": digit % 2,
        "large": (digit >= 5).astype(np.int64),
        "round": np.isin(digit, [0, 6, 8, 9]).astype(np.int64),
    }
    pixels = next(iter(whole.inputs.values()))[:600].reshape(600, -1).astype(np.float32)
    return Dataset(
        name="numbers",
        inputs={"numeric": pixels},
        targets=targets,
        tasks={name: Task(name, "binary") for name in targets},
    )


def times(out):
    return {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*")}


GIVEN = {
    "parity": {"odd": 0.5, "large": 0.0, "round": -0.1},
    "odd": {"parity": 0.5, "large": 0.0, "round": -0.1},
    "large": {"parity": 0.0, "odd": 0.0, "round": 0.2},
    "round": {"parity": 0.0, "odd": 0.0, "large": 0.2},
}
SHORT = SMALL | {"seeds": 1, "epochs": 1, "randoms": 0}


def encoder(spec):
    layer = nn.Sequential(nn.Linear(spec.numeric, 8), nn.ReLU())
    layer.output_size = 8
    return layer


def test_quickly_from_data_to_groups_in_this_process(numbers, tmp_path):
    short = SHORT | {"epochs": 8, "encoder": encoder, "check": False, "out": tmp_path / "out"}
    found = relate(numbers, estimators=["gradient_cosine", "lookahead"], **short)
    assert found.results["complete"]
    assert found.results["check"] is None
    assert found.results["cost"]["measure"]["runs"] == 1
    assert [f.name for f in (tmp_path / "out").glob("runs/*")] == ["together-lr0.01-s0"]
    for table in found.affinities.values():
        # A task and its copy pull the same way, more than any other two.
        assert table["parity"]["odd"] > max(table["parity"][t] for t in ("large", "round"))
    groups = [group["tasks"] for group in found.results["recommendation"]["groups"]]
    assert any({"parity", "odd"} <= set(group) for group in groups)
    assert "nothing was trained to check it" in found.verdict
    before = times(tmp_path / "out")
    again = relate(numbers, estimators=["gradient_cosine", "lookahead"], **short)
    assert times(tmp_path / "out") == before
    assert again.results["estimators"] == found.results["estimators"]


@pytest.mark.slow
def test_given_affinities_and_the_same_again_from_study_yaml(numbers, tmp_path):
    out = tmp_path / "out"
    found = relate(numbers, affinity=GIVEN, **SHORT, out=out)
    groups = [group["tasks"] for group in found.results["recommendation"]["groups"]]
    assert groups == [["parity", "odd"], ["large", "round"]]
    assert found.results["complete"]
    assert found.results["alone"] is None
    assert len(list(out.glob("runs/*/result.json"))) == 7 + 7
    before = times(out)
    # The same again from what study.yaml says, affinities included.
    settings = yaml.safe_load((out / "study.yaml").read_text())
    again = relate(**settings, workers=1, progress=False)
    assert times(out) == before
    assert again.results["check"] == found.results["check"]
    assert again.affinities["given"]["large"]["round"] == 0.2
    table = Affinity.load(out / "affinities" / "given.json")
    assert polytask.group_tasks(table, 2).groups == (("parity", "odd"), ("large", "round"))


@pytest.fixture(scope="module")
def study(numbers, tmp_path_factory):
    out = tmp_path_factory.mktemp("relation") / "out"
    return polytask.relate(numbers, estimators=["lookahead", "pairwise"], **SMALL, out=out)


@pytest.mark.slow
def test_from_data_to_verdict(study):
    assert isinstance(study, StudyResult)
    results = study.results
    assert results == json.loads((study.folder / "results.json").read_text())
    assert (results["kind"], results["schema"]) == ("relate", 1)
    assert (results["complete"], results["missing"]) == (True, [])
    assert not list(study.folder.glob("runs/*/error.json"))
    ahead, gold = results["estimators"]
    assert (ahead["name"], ahead["decides"], ahead["cost"]["runs"]) == ("lookahead", True, 0)
    assert (gold["name"], gold["decides"], gold["cost"]["runs"]) == ("pairwise", False, 2 * 10)
    assert ahead["agreement"]["pairs"] == 12
    assert results["alone"] == 0.0
    assert set(study.affinities) == {"lookahead", "pairwise"}
    saved = Affinity.load(study.folder / "affinities" / "pairwise.json")
    np.testing.assert_array_equal(saved.values, study.affinities["pairwise"].values)
    # A task and its copy pull the same way, more than any other two.
    ahead = study.affinities["lookahead"]
    others = [ahead["parity"][task] for task in ("large", "round")]
    assert ahead["parity"]["odd"] > max(others)
    served = {t: g["tasks"] for g in results["recommendation"]["groups"] for t in g["serves"]}
    assert set(served) == {"parity", "odd", "large", "round"}
    check = results["check"]
    ids = [entry["id"] for entry in check["arrangements"]]
    assert ids[:3] == ["recommended", "all_in_one", "alone"]
    for entry in check["arrangements"]:
        assert entry["step"] > 0
        assert entry["failed"] == []
        assert all(len(e["test"]) == 2 for e in entry["tasks"].values())
    runs = [json.loads(f.read_text()) for f in study.folder.glob("runs/*/unit.json")]
    spent = results["cost"]
    trained = sum(run["config"]["kind"] == "train" for run in runs)
    assert spent["measure"]["runs"] + spent["check"]["runs"] == spent["planned"] == trained
    assert spent["probes"]["runs"] == sum(run["config"]["kind"] == "probe" for run in runs)
    assert len({run["hash"] for run in runs}) == len(runs)
    assert study.verdict == results["verdict"]["sentence"]
    assert study.report.exists()


@pytest.mark.slow
def test_the_same_call_trains_nothing_and_only_what_is_lost_is_run_again(study, numbers):
    before = times(study.folder)
    call = SMALL | {"estimators": ["lookahead", "pairwise"], "out": study.folder}
    again = relate(numbers, **call)
    assert times(study.folder) == before
    assert {k: v for k, v in again.results.items() if k != "created"} == {
        k: v for k, v in study.results.items() if k != "created"
    }
    lost = study.folder / "runs" / "together-lr0.01-s0" / "result.json"
    lost.unlink()
    repeated = relate(numbers, **call)
    changed = {f.parent.name for f, t in times(study.folder).items() if before.get(f) != t}
    assert changed == {"together-lr0.01-s0"}
    # Its training had finished, and was only read again.
    told = [r.results["estimators"][0]["affinity"] for r in (study, repeated)]
    assert told[0] == told[1]


@pytest.mark.slow
def test_a_time_limit_leaves_what_is_finished(numbers, tmp_path):
    found = relate(numbers, **SMALL, max_time=0.01, out=tmp_path / "out")
    assert not found.complete
    assert found.verdict.startswith("No groups are recommended")
    assert any("measuring: together-lr0.01-s0" in text for text in found.results["missing"])
    assert found.affinities == {}


@pytest.mark.slow
def test_a_dry_run_says_what_it_would_take_and_touches_nothing(numbers, tmp_path):
    out = tmp_path / "out"
    found = relate(numbers, **SMALL, estimators="pairwise", dry_run=True, out=out)
    assert not out.exists()
    plan = found.results["plan"]
    assert found.results["kind"] == "relate"
    assert plan["measuring_runs"] == 2 * 10
    assert plan["minutes"] > 0
    assert "Nothing has been trained" in found.verdict


def test_what_is_wrong_is_said_before_anything_is_trained(numbers, tmp_path):
    out = tmp_path / "out"
    table = {t: {o: 0.0 for o in "xyz" if o != t} for t in "xyz"}
    for changes, said in (
        ({"targets": ["parity"]}, "found one task: parity"),
        ({"max_groups": 0}, "max_groups: expected a whole number above 0"),
        ({"estimators": "look_head"}, "did you mean 'lookahead'"),
        ({"estimators": {"lookahead": {"order": "second"}}}, "unknown value of estimator"),
        ({"estimators": []}, "estimators: expected at least one"),
        ({"affinity": table}, "affinity: expected the tasks of the data, parity, odd"),
        ({"affinity": "absent.json"}, "cannot read absent.json"),
        ({"alone": "sometimes"}, "alone: expected"),
        ({"randoms": -1}, "randoms: expected"),
        ({"branches": "lookahead"}, "branches: expected"),
        ({"method": "gcs"}, "helps one main task"),
        ({"method": ["linear", "pcgrad"]}, "expected one, found 2"),
        ({"architecture": "single_task"}, "shares nothing"),
        ({"seeds": 0}, "seeds: expected"),
        ({"maxgroups": 2}, "did you mean 'max_groups'"),
    ):
        with pytest.raises(UserError, match=said):
            relate(numbers, **(SMALL | changes), out=out)
    assert not out.exists()


def test_a_folder_of_other_data_is_refused(numbers, tmp_path):
    (tmp_path / "fingerprint.json").write_text(json.dumps({"data": "other", "name": "wine"}))
    with pytest.raises(UserError, match="holds a study of other data"):
        relate(numbers, **SMALL, out=tmp_path)


@pytest.mark.slow
def test_a_tree_of_branches_is_found_and_checked(tmp_path):
    given = {
        "digit": {"parity": 1.0, "size": 1.0},
        "parity": {"digit": 1.0, "size": -1.0},
        "size": {"digit": 1.0, "parity": -1.0},
    }
    small = SHORT | {"encoder": {"resnet": {"width": 4, "blocks": [1, 1]}}}
    found = relate(few_digits(200), affinity=given, branches=True, **small, out=tmp_path / "out")
    results = found.results
    assert results["complete"]
    assert [entry["name"] for entry in results["estimators"]] == ["given", "rsa"]
    tree = results["branches"]
    assert tree["of"] == "rsa"
    assert all(sorted(t for g in level for t in g) == ["digit", "parity", "size"]
               for level in tree["levels"])  # fmt: skip
    option = yaml.safe_load(tree["option"])
    assert option == {"branched": {"tree": tree["levels"]}}
    entry = results["check"]["arrangements"][-1]
    assert (entry["id"], entry["networks"], entry["failed"]) == ("branched", 1, [])
    assert entry["delta_m"]["mean"] is not None
    built = json.loads(
        next((tmp_path / "out").glob("runs/all-linear-branched*/unit.json")).read_text()
    )
    assert built["config"]["architecture"]["arguments"] == {"tree": tree["levels"]}


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["parameters", "latency"])
def test_a_budget_is_measured_before_groups_are_chosen(numbers, tmp_path, unit):
    words = SHORT | {"max_groups": None, "check": False, "alone": 0.0}
    out = tmp_path / "out"
    found = relate(numbers, affinity=GIVEN, budget=2.2, budget_in=unit, **words, out=out)
    results = found.results
    assert results["complete"]
    spent, chosen = results["budget"], results["recommendation"]
    heads = spent["tasks"]
    assert spent["network"] + sum(heads.values()) == pytest.approx(1.0)
    assert chosen["cost"] == pytest.approx(
        sum(spent["network"] + sum(heads[t] for t in g["tasks"]) for g in chosen["groups"])
    )
    assert chosen["cost"] <= 2.2 + 1e-8
    if unit == "parameters":
        # 64 inputs and 16 features, each with a bias; a head of 16 weights and a bias.
        encoder, head = 64 * 16 + 16, 17
        assert spent["network"] == pytest.approx(encoder / (encoder + 4 * head))
        assert len(chosen["groups"]) == 2
    assert f"within a budget of {spent['words']}" in results["verdict"]["sentence"]
    written = yaml.safe_load((out / "study.yaml").read_text())
    assert (written["budget"], written["budget_in"]) == (2.2, unit)
    before = times(out)
    again = relate(**(written | {"progress": False}))
    assert again.results["recommendation"] == chosen
    assert times(out) == before
