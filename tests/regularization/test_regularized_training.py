"""Training with terms on real data: digits, the metals of Jura, and a study of patients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from connection import needs_connection
from sklearn.datasets import load_diabetes
from trunk_cases import digit_model, trained

from polytask import registry
from polytask.architectures import create_architecture, create_encoder
from polytask.cli._methods import parse
from polytask.data import Preprocessor, load_dataset, make_splits
from polytask.optimization.regularization import list_regularizers
from polytask.study import compare
from polytask.training import Trainer


@pytest.mark.parametrize("name", list_regularizers())
def test_every_term_trains_on_digits(name: str) -> None:
    option = {"every": 5} if "every" in registry.find("regularizer", name).arguments else {}
    strength = {"strength": 1e-3}
    fresh = name == "decorrelation"
    model = digit_model("single_task", fresh=fresh, regularize=[{name: {**strength, **option}}])
    losses = trained(model, epochs=2)
    assert losses[-1] < 0.9 * losses[0]
    told = model.regularization()[name]
    assert json.loads(json.dumps(told)) == told
    assert told["penalty"] >= 0


def test_the_trainer_tells_losses_and_b_is_found() -> None:
    model = digit_model("single_task", fresh=False, regularize=[{"amtl": {"every": 5}}])
    trained(model, epochs=1)
    transfer = model.regularization()["amtl"]["transfer"]
    assert list(transfer) == ["digit", "even", "ink"]
    assert max(transfer["ink"].values()) > 0
    assert all(transfer[task][task] == 0 for task in transfer)
    counts = model.get_buffer("regularizers.0.counts")
    assert int(counts.sum()) == 3  # 11 batches: one since the last of two times, of three tasks


def test_proximal_steps_reach_zeros_on_digits() -> None:
    terms = [{"block_sparse": {"strength": 2.0, "prox": True}}]
    model = digit_model("single_task", fresh=False, regularize=terms)
    trained(model, epochs=3, optimizer="sgd", lr=0.05)
    groups = model.regularization()["block_sparse"]["groups"].values()
    assert sum(group["zero"] for group in groups) > 0


def test_terms_on_the_command_line() -> None:
    text = "soft_sharing:strength=0,regularize=[l2,{trace_norm: {strength: 0.1}}]"
    assert parse("architecture", text, "--architectures").arguments == {
        "strength": 0,
        "regularize": ["l2", {"trace_norm": {"strength": 0.1}}],
    }


def test_metals_of_jura() -> None:
    """Seven tasks; nickel and cobalt are of one origin."""
    with needs_connection():
        data = load_dataset("jura", split="published")
    rows = make_splits(data)["train"]
    preprocessor = Preprocessor.fit(data, rows)
    tasks = {t: data.tasks[t].fitted(data.targets[t][rows]) for t in data.tasks}
    inputs = preprocessor.transform({k: v[rows] for k, v in data.inputs.items()})
    targets = {t: torch.from_numpy(data.targets[t][rows]) for t in tasks}
    torch.manual_seed(0)
    model = create_architecture(
        "single_task",
        create_encoder("mlp", preprocessor.spec, hidden=[16]),
        tasks,
        fresh=False,
        regularize=[{"cluster": {"every": 5, "clusters": 3}}, {"mrn": {"every": 5}}],
        example={k: v[:2] for k, v in inputs.items()},
    )
    trainer = Trainer(model, tasks, lr=1e-2, epochs=5, batch_size=32, progress=False)
    trainer.fit((inputs, targets))
    found = model.regularization()
    assert set(found["cluster"]["cluster"]) == set(tasks)
    assert 1 < len(set(found["cluster"]["cluster"].values())) <= 3
    for rows_of in found["mrn"]["correlation"].values():
        assert rows_of["Ni"]["Ni"] == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_study_tells_what_terms_find(tmp_path: Path) -> None:
    frame = load_diabetes(as_frame=True).frame.rename(columns={"target": "progression"})
    frame["high"] = (frame["progression"] > 140).map({True: "yes", False: "no"})
    study = compare(
        frame,
        targets=["progression", "high"],
        methods=["linear"],
        architectures=[
            {"soft_sharing": {"strength": 0, "regularize": {"l2": {}, "amtl": {"every": 2}}}}
        ],
        encoder={"mlp": {"hidden": [8]}},
        seeds=1,
        epochs=1,
        lr=1e-2,
        progress=False,
        out=tmp_path / "study",
    )
    results = [json.loads(file.read_text()) for file in tmp_path.rglob("result.json")]
    told = [result["regularization"] for result in results if "regularization" in result]
    assert told
    assert len(told) < len(results)
    assert all(set(found) == {"l2", "amtl"} for found in told)
    assert set(told[0]["amtl"]["transfer"]) == {"progression", "high"}
    entries = study.results["regularization"]
    assert len(entries) == len(told)
    for entry in entries:
        assert (entry["seeds"], set(entry["terms"])) == (1, {"l2", "amtl"})
        assert entry["terms"]["amtl"]["found"] in [one["amtl"] for one in told]
    assert study.report is not None
    page = study.report.read_text(encoding="utf-8")
    assert "What the terms on weights found" in page
    assert "amtl: transfer from tasks that are learned well" in page
