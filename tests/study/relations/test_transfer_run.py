"""Transfer between real single-task networks: through the folders of a study."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alone_networks import TASKS, carried_out, digits_plan, few_digits, measured

from polytask import registry
from polytask.errors import UserError
from polytask.relationships import group_tasks, transfer_policy
from polytask.study.relations.estimators.transfer import Transfer
from polytask.study.relations.runs._trained import trained
from polytask.study.relations.runs.transfer import transfer
from polytask.study.unit import prepare
from polytask.training import represent


@pytest.fixture(scope="module")
def dataset():
    return few_digits()


@pytest.fixture(scope="module")
def study(tmp_path_factory, dataset):
    """A plan, its folder, and the outcomes of the runs that the estimator asks for."""
    out, plan = tmp_path_factory.mktemp("study"), digits_plan("transfer")
    ended, order = measured(out, plan, Transfer(), dataset)
    return plan, out, ended, order


def test_every_task_is_learned_on_every_encoder(study) -> None:
    plan, _, ended, order = study
    assert order == [*(plan.alone(task).id for task in TASKS), "transfer-s0"]
    result = ended[Transfer().units(plan, ended)[-1].hash]
    assert result["rows"] == {"train": 350, "val": 75}
    assert [tuple(row) for row in result["losses"].values()] == [TASKS] * 3
    found = Transfer().affinity(plan, ended)
    assert found.tasks == TASKS
    np.testing.assert_allclose(found.values.sum(1), 1.0)
    assert (found.values > 0).all()
    assert (found.standard_errors >= 0).all()
    assert found.standard_errors.max() > 0
    # An encoder that was trained for a task serves it better than either of the others.
    assert (np.diag(found.values) > 0.4).all()
    # The digit tells parity and size; what tells parity apart does not tell the digit.
    losses = result["losses"]
    assert losses["parity"]["digit"] < losses["parity"]["size"]
    assert all(losses["digit"][source] < np.log(10) for source in TASKS)
    assert group_tasks(found, 2).groups
    assert transfer_policy(found, 1).supervised
    told = plan.told(plan.measures[0], ended)
    assert told is not None
    assert told.grouping is not None


def test_the_heads_read_what_the_frozen_encoder_makes_of_the_rows(study, dataset) -> None:
    plan, out, ended, _ = study
    unit = plan.alone("digit")
    network = trained({"id": unit.id, "hash": unit.hash}, dataset, out / "runs" / "x")
    config = Transfer().units(plan, ended)[-1].config
    everyone = prepare(config, dataset)
    for part in ("train", "val"):
        assert torch.equal(
            everyone.parts[part][0]["image"], network.prepared.parts[part][0]["image"]
        )
    # A logistic regression on the same features is about as good.
    from sklearn.linear_model import LogisticRegression

    stages = [
        represent(network.model, everyone.batches(part, 64), None, -1)[2]
        for part in ("train", "val")
    ]
    x = [(z - stages[0].mean(0)) / stages[0].std(0) for z in stages]
    y = [everyone.parts[part][1]["parity"].numpy() for part in ("train", "val")]
    peer = LogisticRegression(C=100, max_iter=500).fit(x[0], y[0])
    share = peer.predict_proba(x[1])[np.arange(75), y[1]]
    theirs = -np.log(share).mean()
    ours = ended[Transfer().units(plan, ended)[-1].hash]["losses"]["parity"]["digit"]
    assert ours < 1.15 * theirs + 0.02


def test_the_same_run_gives_the_same_numbers(study, dataset) -> None:
    plan, out, ended, _ = study
    unit = Transfer().units(plan, ended)[-1]
    again = transfer(unit.config, dataset, out / "runs" / unit.id)
    known = ended[unit.hash]
    assert {word: known[word] for word in again} == again
    deep = Transfer(hidden=[8], rows=100).units(plan, ended)[-1]
    assert deep.hash != unit.hash
    found = carried_out(out, deep, dataset)
    assert found["rows"] == {"train": 100, "val": 75}
    assert found["losses"] != known["losses"]


def test_the_registry_lists_it() -> None:
    entry = registry.find("estimator", "transfer")
    assert entry.constants["gains"] is False
    assert set(entry.arguments) == {"hidden", "rows"}
    made = registry.create("estimator", "transfer", hidden=[16, 8], rows=10)
    assert (made.hidden, made.rows) == ([16, 8], 10)


@pytest.mark.parametrize(
    "options", [{"rows": 0}, {"rows": 1.5}, {"hidden": [0]}, {"hidden": [True]}]
)
def test_faulty_arguments(options) -> None:
    with pytest.raises(UserError, match="should be whole numbers of 1 or more"):
        Transfer(**options)
