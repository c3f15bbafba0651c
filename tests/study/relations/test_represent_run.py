"""Similarity of real single-task networks: through the folders of a study, seed by seed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from alone_networks import TASKS, carried_out, digits_plan, few_digits, measured

from polytask import registry
from polytask.errors import UserError
from polytask.relationships import Affinity, branch_tree, group_tasks, linear_cka, rsa
from polytask.study.relations.estimators._seeds import over_seeds
from polytask.study.relations.estimators.cka import CKA
from polytask.study.relations.estimators.rsa import RSA
from polytask.study.relations.runs._trained import trained
from polytask.training import represent

STAGES = 3


@pytest.fixture(scope="module")
def dataset():
    return few_digits()


@pytest.fixture(scope="module")
def study(tmp_path_factory, dataset):
    """A plan, its folder, and the outcomes of the runs that RSA asks for."""
    out, plan = tmp_path_factory.mktemp("study"), digits_plan()
    ended, order = measured(out, plan, RSA(), dataset)
    return plan, out, ended, order


def test_networks_alone_come_first_and_one_run_reads_them(study) -> None:
    plan, _, ended, order = study
    assert order == [*(plan.alone(task).id for task in TASKS), "represent-s0"]
    assert not [outcome["error"] for outcome in ended.values() if "error" in outcome]
    assert RSA().later(plan) == 1
    # The other measure reads the same run.
    both = [e.units(plan, ended)[-1] for e in (RSA(stage=0), CKA())]
    assert both[0].hash == both[1].hash
    assert RSA(rows=40).units(plan, ended)[-1].id == "represent_40-s0"


@pytest.mark.parametrize(("estimator", "measure"), [(RSA, rsa), (CKA, linear_cka)])
def test_it_is_the_similarity_of_what_the_networks_make_of_validation_rows(
    study, dataset, estimator, measure
) -> None:
    plan, out, ended, _ = study
    features = {}
    for task in TASKS:
        unit = plan.alone(task)
        network = trained({"id": unit.id, "hash": unit.hash}, dataset, out / "runs" / "x")
        assert list(network.prepared.tasks) == [task]
        assert network.prepared.parts["val"][0]["image"].shape[0] == 75
        features[task] = represent(network.model, network.prepared.judging("val", 64))
    levels = estimator().levels(plan, ended)
    assert len(levels) == STAGES
    for stage, table in enumerate(levels):
        expected = measure({task: of[stage] for task, of in features.items()})
        np.testing.assert_allclose(table.values, expected.values, atol=1e-6)
        np.testing.assert_allclose(table.standard_errors, expected.standard_errors, atol=1e-6)
        assert table.tasks == TASKS
        np.testing.assert_array_equal(
            estimator(stage=stage).affinity(plan, ended).values, table.values
        )
    last = estimator().affinity(plan, ended)
    np.testing.assert_array_equal(last.values, levels[-1].values)
    assert last.measured.endswith("of representations of 75 rows, stage 2 of 0 to 2")
    # The stem sees the same in all three; what is made of it differs.
    off = ~np.eye(3, dtype=bool)
    assert levels[0].values[off].min() > levels[-1].values[off].max()


def test_groups_and_trees_follow(study) -> None:
    plan, _, ended, _ = study
    estimator = RSA()
    assert group_tasks(estimator.affinity(plan, ended), 2).groups
    costs = estimator.costs(plan, ended)
    assert len(costs) == STAGES
    assert costs[-1] > costs[0] > 0
    tree = branch_tree(estimator.levels(plan, ended), costs, budget=2.0, same=1.0)
    assert 1 <= tree.cost <= 2
    told = plan.told(plan.measures[0], ended)
    assert told is not None
    assert told.grouping is not None


def test_the_registry_lists_them() -> None:
    for name in ("rsa", "cka"):
        entry = registry.find("estimator", name)
        assert entry.constants["gains"] is False
        assert set(entry.arguments) == {"stage", "rows"}
        assert entry.summary
        assert type(registry.create("estimator", name, stage=0)).__name__ == name.upper()


def test_several_seeds_are_averaged(study, dataset) -> None:
    _, out, known, _ = study
    plan = digits_plan(seeds=2)
    ended, order = measured(out, plan, CKA(), dataset, known)
    assert order == [*(plan.alone(task, 1).id for task in TASKS), "represent-s1"]
    found = CKA().affinity(plan, ended)
    runs = [ended[unit.hash] for unit in CKA().units(plan, ended) if "represent" in unit.id]
    each = np.array([run["cka"][str(STAGES - 1)]["values"] for run in runs])
    assert not np.array_equal(each[0], each[1])
    np.testing.assert_allclose(found.values, each.mean(0))
    assert "mean of 2 seeds" in found.measured


def test_errors_over_seeds() -> None:
    def table(value, error=None):
        errors = None if error is None else np.full((2, 2), error)
        return Affinity(("a", "b"), np.full((2, 2), value), errors, "so")

    two = over_seeds([table(0.0, 0.3), table(1.0, 0.4)])
    np.testing.assert_allclose(two.values, 0.5)
    np.testing.assert_allclose(two.standard_errors, 0.25)
    three = over_seeds([table(0.0, 0.1), table(1.0, 0.1), table(2.0, 0.1)])
    np.testing.assert_allclose(three.standard_errors, 1 / np.sqrt(3))
    assert np.isnan(over_seeds([table(0.0), table(1.0)]).standard_errors).all()
    assert np.isnan(over_seeds([table(np.nan, 0.1), table(1.0, 0.1)]).values).all()
    one = table(0.4, 0.1)
    assert over_seeds([one]) is one


def test_a_failed_training_is_named(study) -> None:
    plan, _, ended, _ = study
    failed = dict(ended) | {plan.alone("parity").hash: {"error": "the loss was not finite"}}
    assert len(RSA().units(plan, failed)) == 3
    with pytest.raises(UserError, match=r"network of 'parity' alone.*the loss was not finite"):
        RSA().affinity(plan, failed)
    reading = RSA().units(plan, ended)[-1]
    with pytest.raises(UserError, match="the run represent-s0 failed: no memory"):
        RSA().affinity(plan, dict(ended) | {reading.hash: {"error": "no memory"}})
    with pytest.raises(UserError, match="it has not ended"):
        RSA().affinity(plan, {})
    with pytest.raises(UserError, match=r"stage should be from 0 to 2.*found 7"):
        RSA(stage=7).affinity(plan, ended)


def test_a_folder_that_holds_another_run_is_an_error(study, tmp_path, dataset) -> None:
    plan, out, ended, _ = study
    shutil.copytree(out / "runs", tmp_path / "runs")
    reading = RSA(rows=9).units(plan, ended)[-1]
    home = tmp_path / "runs" / plan.alone("digit").id
    unit = json.loads((home / "unit.json").read_text())
    (home / "unit.json").write_text(json.dumps(unit | {"hash": "0"}))
    failed = carried_out(tmp_path, reading, dataset)
    assert failed["user"]
    assert "found another (0)" in failed["error"]
    shutil.rmtree(home)
    assert "found nothing" in carried_out(tmp_path, reading, dataset)["error"]


@pytest.mark.parametrize(
    "options", [{"rows": 3}, {"rows": 8.0}, {"stage": "last"}, {"stage": True}]
)
def test_faulty_arguments(options) -> None:
    for estimator in (RSA, CKA):
        with pytest.raises(UserError, match="should be a whole number"):
            estimator(**options)
