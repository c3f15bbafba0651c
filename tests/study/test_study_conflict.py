"""Gradient agreement in a study: who records it, what it changes, what the results say."""

import json

import numpy as np
import pytest
from study_simulation import facts, settings, simulate
from torch import nn

from polytask.data import Dataset
from polytask.study import compare
from polytask.study.analysis import analyse
from polytask.study.plan import Plan
from polytask.study.settings import Choice
from polytask.tasks import Task

KEYS = {
    "architecture", "method", "statistic", "tasks", "cosine", "standard_error", "null", "groups",
    "samples", "seeds", "blocks",
}  # fmt: skip


def waves(rows=240):
    """Two tasks that are nearly the same, and one of noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 3)).astype("float32")
    total = x.sum(1)
    targets = {"sum": total, "near": total + 0.1 * x[:, 0], "sign": (x[:, 1] > 0).astype("int64")}
    kinds = {"sum": "regression", "near": "regression", "sign": "binary"}
    return Dataset(
        "waves", {"signal": x}, targets, {name: Task(name, kind) for name, kind in kinds.items()}
    )


def encoder(spec):
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return compare(
        waves(), methods=["linear"], encoder=encoder, seeds=2, epochs=6, lr=1e-2, batch_size=32,
        progress=False,
        out=tmp_path_factory.mktemp("waves"),
    )  # fmt: skip


def test_the_results_hold_finite_cosines_with_errors_and_levels(study):
    (entry,) = json.loads((study.folder / "results.json").read_text())["conflict"]
    assert entry == study.results["conflict"][0]
    assert set(entry) == KEYS
    assert (entry["architecture"], entry["method"]) == ("hard_sharing", "linear")
    assert (entry["statistic"], entry["seeds"]) == ("tail", 2)
    assert entry["samples"] == 2 * 6 * 6  # 168 training rows: 6 batches an epoch
    assert entry["blocks"] == 30
    tables = np.array([entry[key] for key in ("cosine", "standard_error", "null")], dtype=float)
    assert tables.shape == (3, 3, 3)
    assert np.isfinite(tables).all()
    at = [entry["tasks"].index(name) for name in ("sum", "near")]
    assert tables[0][*at] > tables[2][*at] > 0  # they agree


def test_runs_of_plain_equal_weights_record_it_and_no_others(study):
    runs = {path.parent.name: path for path in study.folder.glob("runs/*/result.json")}
    recorded = {name for name, path in runs.items() if "conflict" in json.loads(path.read_text())}
    assert recorded == {f"hard_sharing-linear-lr0.01-s{seed}" for seed in (0, 1)}
    assert len(list(study.folder.glob("runs/*/conflict.json"))) == 2
    content = json.loads(runs["hard_sharing-linear-lr0.01-s0"].read_text())["conflict"]
    assert content["tasks"] == ["sum", "near", "sign"]
    assert content["skipped"] == {}


def test_the_statistic_of_the_study_is_that_of_the_record():
    for statistic, wanted in ((None, "tail"), ("features", "tail"), ("exact", "exact")):
        own = Choice("linear", {"heads": "plain"})  # not plain equal weights, but a candidate
        plan = Plan(settings(statistic=statistic, methods=(Choice("linear"), own, Choice("rlw"))))
        outcomes, _ = simulate(plan, lambda unit, task, part: 1.0)
        units = {c.id: plan.unit(c, 1e-3, 0, outcomes).config for c in plan.contenders}
        recording = {name: config.get("conflict") for name, config in units.items()}
        assert recording.pop("hard_sharing-linear") == wanted
        assert set(recording.values()) == {None}
        assert all("conflict" not in probe.config for probe in plan.probes())


def gradients(seed, skipped=None, tasks=("price", "sold")):
    """A record of 30 steps, in which the two tasks fight."""
    draw = np.random.default_rng(seed)
    steps = draw.normal([0.4, -0.2, 0.5], 0.05, (30, 3)).tolist() if skipped is None else []
    return {
        "tasks": list(tasks), "statistic": "tail", "source": "tail, depth 2 (100 numbers)",
        "products": steps, "norms": [[1.0, 2.0] for _ in steps], "skipped": skipped or {},
    }  # fmt: skip


def analysed(record, stop=10**9, **changes):
    plan = Plan(settings(**changes))
    outcomes, _ = simulate(plan, lambda unit, task, part: 1.0, stop=stop)
    for contender in plan.candidates:
        for lr in plan.settings.lr:
            for seed in range(plan.settings.seeds):
                unit = plan.unit(contender, lr, seed, outcomes)
                if unit is not None and "conflict" in unit.config and unit.hash in outcomes:
                    outcomes[unit.hash]["conflict"] = record(seed)
    results = analyse(plan, facts(plan), outcomes)
    json.dumps(results, allow_nan=False)
    return results


def test_all_seeds_at_the_chosen_rate_are_one_estimate():
    (entry,) = analysed(gradients)["conflict"]
    assert set(entry) == KEYS
    assert entry["tasks"] == ["price", "sold"]
    assert (entry["seeds"], entry["samples"], entry["blocks"]) == (5, 150, 75)
    assert entry["cosine"][0][1] == pytest.approx(-0.2 / np.sqrt(0.2), abs=0.02)
    assert -entry["cosine"][0][1] > entry["null"][0][1]
    both = (Choice("hard_sharing"), Choice("single_task"))
    found = analysed(gradients, architectures=both)["conflict"]
    assert [each["architecture"] for each in found] == ["hard_sharing", "single_task"]


def test_what_could_not_be_measured_is_a_remark():
    results = analysed(lambda seed: gradients(seed, {"a batch had fewer than 4 rows": 9, "b": 1}))
    assert results["conflict"] == []
    assert (
        "How far the tasks' gradients agree could not be measured for hard_sharing: a batch had "
        "fewer than 4 rows."
    ) in results["remarks"]
    some = analysed(lambda seed: gradients(seed, {"b": 1} if seed else None))
    assert some["conflict"][0]["seeds"] == 1
    assert not any("gradients" in remark for remark in some["remarks"])


@pytest.mark.parametrize("stop", [0, 4, 9, 16])
def test_a_study_cut_short_has_what_there_is(stop):
    results = analysed(gradients, stop=stop)
    assert not results["complete"]
    assert not any("gradients" in remark for remark in results["remarks"])
    for entry in results["conflict"]:
        assert 0 < entry["seeds"] <= 5
    assert bool(results["conflict"]) == (stop > 4)


def test_undefined_pairs_say_why():
    record = gradients(0)
    few = {**record, "products": record["products"][:5], "norms": record["norms"][:5]}
    (entry,) = analysed(lambda seed: few, seeds=1)["conflict"]
    assert "measured in 5 of 5 recorded steps" in entry["cosine"][0][1]["undefined"]
    assert entry["cosine"][0][1] == entry["null"][0][1]
