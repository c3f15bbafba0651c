"""`match_parameters`: every network of a study has about as many parameters."""

import pytest
from study_simulation import TARGETS, settings
from torch import nn

from polytask.errors import UserError
from polytask.study import compare
from polytask.study.plan import Plan

QUICK = {
    "targets": TARGETS,
    "methods": ["linear"],
    "architectures": ["hard_sharing", "mmoe"],
    "encoder": {"mlp": {"hidden": [64, 32]}},
    "seeds": 1,
    "epochs": 1,
    "lr": 1e-2,
    "progress": False,
}


def test_a_plan_says_how_many_parameters_only_when_asked() -> None:
    plain, equal = Plan(settings()), Plan(settings(parameters=900))
    assert all("parameters" not in unit.config for unit in plain.probes())
    wanted = {unit.id: unit.config["parameters"] for unit in equal.probes()}
    assert wanted["probe-single-price"] == 450
    assert wanted["probe-hard_sharing-linear"] == 900


@pytest.mark.slow
def test_a_study_at_equal_size(patients, tmp_path) -> None:
    found = compare(patients, out=tmp_path / "s", match_parameters=True, **QUICK).results
    sizes = {c["architecture"]: c["cost"]["parameters"] for c in found["candidates"]}
    target = sizes["hard_sharing"]
    assert sizes["mmoe"] == pytest.approx(target, rel=0.1)
    alone = sum(entry["parameters"] for entry in found["single_task"].values())
    assert alone == pytest.approx(target, rel=0.1)
    assert any("scaled so that every network has about" in said for said in found["remarks"])
    assert "match_parameters: true" in (tmp_path / "s" / "study.yaml").read_text()
    free = compare(patients, out=tmp_path / "free", dry_run=True, **QUICK)
    assert free.results["plan"]


def test_an_encoder_of_ones_own_has_no_known_widths(patients, tmp_path) -> None:
    with pytest.raises(UserError, match="scales the widths of a registered encoder"):
        compare(
            patients,
            out=tmp_path / "s",
            match_parameters=True,
            **(QUICK | {"encoder": lambda spec: nn.Linear(spec.numeric, 8)}),
        )
