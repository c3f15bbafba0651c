"""Projected gradients and labels in a study: runs, records, what failed, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from alone_networks import TASKS, carried_out, digits_plan, few_digits, measured

from polytask import registry
from polytask.auxiliary import label_affinity
from polytask.data import make_splits
from polytask.errors import PolytaskError, UserError
from polytask.relationships import subset_affinity
from polytask.study.relations.estimators.labels import Labels
from polytask.study.relations.estimators.projected_gradients import ProjectedGradients
from polytask.study.unit import build, prepare
from polytask.training import projected_gradient_affinity
from polytask.training.run_folder import RunFolder

FEW = {"directions": 6, "rows": 60}


@pytest.fixture(scope="module")
def dataset():
    return few_digits()


@pytest.fixture(scope="module")
def study(tmp_path_factory, dataset):
    out = tmp_path_factory.mktemp("study")
    plan = digits_plan("projected_gradients", seeds=2, **FEW)
    estimator = plan.measures[0].estimator
    ended, order = measured(out, plan, estimator, dataset)
    return out, plan, estimator, ended, order


def test_the_network_of_all_tasks_is_followed_once_it_is_trained(study):
    _, plan, estimator, ended, order = study
    together = [plan.together(seed) for seed in range(2)]
    assert [unit.hash for unit in estimator.units(plan, {})] == [unit.hash for unit in together]
    assert estimator.later(plan) == 2
    assert order == [
        *(unit.id for unit in together),
        "projected_gradients-s0",
        "projected_gradients-s1",
    ]
    assert not any("error" in outcome for outcome in ended.values())
    # A folder of another name changes nothing; another network does.
    units = estimator.units(plan, ended)
    assert units[2].config["networks"] == {"all": {"id": together[0].id, "hash": together[0].hash}}
    assert units[2].hash != units[3].hash


def test_the_record_is_that_of_the_function(study, dataset):
    out, plan, estimator, ended, _ = study
    unit = plan.together(1)
    prepared = prepare(unit.config, dataset)
    model = build(unit.config, prepared)
    model.load_state_dict(RunFolder(out / "runs" / unit.id).load("best"))
    parts = [prepared.batches(part, 4096, shuffle=True, seed=1) for part in ("train", "val")]
    record = projected_gradient_affinity(model, prepared.tasks, *parts, seed=1, **FEW)
    found = ended[estimator.units(plan, ended)[3].hash]["surrogate"]
    assert found == json.loads(json.dumps(record))
    assert found["tasks"] == list(TASKS)


def test_affinities_are_means_over_networks(study):
    _, plan, estimator, ended, _ = study
    found = estimator.affinity(plan, ended)
    records = [ended[unit.hash]["surrogate"] for unit in estimator.units(plan, ended)[2:]]
    tables = [
        subset_affinity(
            [(group["tasks"], group["gains"]) for group in record["subsets"]],
            tasks=TASKS,
            aggregate="regression",
        )
        for record in records
    ]
    assert found.tasks == TASKS
    np.testing.assert_allclose(found.values, np.mean([table.values for table in tables], axis=0))
    # Two networks: too few for their spread, so it is the errors within them that count.
    within = np.sqrt(sum(table.standard_errors**2 for table in tables)) / 2
    np.testing.assert_allclose(found.standard_errors, within)
    assert "projected gradients, 3 groups of 2 tasks, mean of 2 seeds" in found.measured
    one = digits_plan("projected_gradients", **FEW)
    alone = one.measures[0].estimator.affinity(one, ended)
    np.testing.assert_allclose(alone.values, tables[0].values)


def test_one_that_failed_is_left_out(study):
    _, plan, estimator, ended, _ = study
    units = estimator.units(plan, ended)
    failed = {**ended, units[3].hash: {"error": "out of memory"}}
    other = {k: v for k, v in ended.items() if k != units[2].hash}
    other[units[0].hash] = {"error": "it diverged"}
    assert [unit.id for unit in estimator.units(plan, other)][2:] == ["projected_gradients-s1"]
    first, second = estimator.affinity(plan, failed), estimator.affinity(plan, other)
    both = estimator.affinity(plan, ended)
    np.testing.assert_allclose((first.values + second.values) / 2, both.values)
    failed[units[2].hash] = {"error": "out of memory"}
    with pytest.raises(UserError, match=r"there is no network to read gradients of.*out of memory"):
        estimator.affinity(plan, failed)


def test_a_network_that_is_gone_is_an_error_of_the_run(study, dataset, tmp_path):
    _, plan, estimator, ended, _ = study
    found = carried_out(tmp_path, estimator.units(plan, ended)[2], dataset)
    assert "expected the training" in str(found["error"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "middle"}, "unknown start"),
        ({"aggregate": "median"}, "unknown aggregate"),
        ({"derivatives": "exact"}, "unknown derivatives"),
        ({"directions": 0}, "directions must be"),
        ({"items": 0}, "items must be"),
        ({"head_directions": -1}, "head_directions must be"),
        ({"size": 1}, "size must be"),
        ({"ridge": -1.0}, "ridge must be"),
        ({"shrinkage": 0.0}, "shrinkage above 0"),
    ],
)
def test_options_of_projected_gradients(options, said):
    with pytest.raises(UserError, match=said):
        ProjectedGradients(**options)


def test_both_are_found_by_name():
    for name, cls in (("projected_gradients", ProjectedGradients), ("labels", Labels)):
        entry = registry.find("estimator", name)
        assert entry.load() is cls
        assert entry.constants["gains"] is cls.gains
        assert entry.constants["needs"] == cls.needs
    assert isinstance(registry.create("estimator", "labels", measure="correlation"), Labels)


def test_labels_take_the_training_rows_and_no_run(dataset):
    plan = digits_plan("labels", measure="information", bins=4)
    estimator = plan.measures[0].estimator
    with pytest.raises(PolytaskError, match="before it was shown the data"):
        estimator.affinity(plan, {})
    splits = make_splits(dataset, seed=0)
    estimator.prepare(dataset, splits)
    assert estimator.units(plan, {}) == []
    assert estimator.later(plan) == 0
    found = estimator.affinity(plan, {})
    tasks = {name: dataset.tasks[name] for name in TASKS}
    oracle = label_affinity(tasks, dataset.targets, splits["train"], bins=4)
    assert found.tasks == TASKS
    np.testing.assert_array_equal(found.values, oracle.values)
    assert found["digit"]["parity"] > 0.3  # the digit tells whether it is even
    # Labels of other rows play no part.
    changed = {name: target.copy() for name, target in dataset.targets.items()}
    for name in TASKS:
        changed[name][splits["test"]] = 0
        changed[name][splits["val"]] = 1
    estimator.prepare(replace(dataset, targets=changed), splits)
    np.testing.assert_array_equal(estimator.affinity(plan, {}).values, oracle.values)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"measure": "x"}, "unknown measure"), ({"bins": 1}, "bins"), ({"max_rows": 9}, "max_rows")],
)
def test_options_of_labels(options, said):
    with pytest.raises(UserError, match=said):
        Labels(**options)
