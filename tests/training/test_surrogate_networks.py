"""Derivatives along directions, for every encoder and kind of task, and what is left untouched."""

import json

import numpy as np
import pytest
import torch

from polytask.architectures import create_architecture, create_encoder
from polytask.data import Batches, InputSpec
from polytask.tasks import Task
from polytask.training import _surrogate_linear as linear
from polytask.training import projected_gradient_affinity
from polytask.training._surrogate_directions import Answers, still

SMALL = {"directions": 4, "head_directions": 2, "rows": 40, "ridge": 1e-7, "subsets": 3}


def known(shape, seed, missing=0.3, classes=0):
    """A target of random numbers or codes, a share of it missing."""
    chance = np.random.default_rng(seed)
    gone = chance.random(shape) < missing
    if classes:
        return torch.from_numpy(np.where(gone, -100, chance.integers(0, classes, shape)))
    return torch.from_numpy(np.where(gone, np.nan, chance.normal(size=shape))).float()


def labels(shape, seed):
    found = known(shape, seed)
    return torch.where(found.isnan(), found, (found > 0).float())


def table(rows):
    spec = InputSpec(numeric=5)
    inputs = {"numeric": known((rows, 5), 0, missing=0)}
    tasks = [
        Task("number", "regression"),
        Task("several", "regression", size=2, loss_function="huber"),
        Task("yes", "binary"),
        Task("which", "multiclass", classes=(0, 1, 2)),
        Task("tags", "multilabel", classes=("a", "b", "c")),
        Task("own", "custom", size=2, loss_function=lambda o, t: (o - t).square().mean(1)),
    ]
    targets = {
        "number": known((rows,), 1),
        "several": known((rows, 2), 2),
        "yes": known((rows,), 3, classes=2),
        "which": known((rows,), 4, classes=3),
        "tags": labels((rows, 3), 5),
        "own": known((rows, 2), 6, missing=0),
    }
    return "mlp", {"hidden": [8, 8]}, spec, inputs, tasks, targets


def image(rows):
    spec = InputSpec(image=(1, 8, 8))
    inputs = {"image": known((rows, 1, 8, 8), 0, missing=0)}
    tasks = [
        Task("depth", "regression", places=(8, 8)),
        Task("kind", "multiclass", classes=(0, 1, 2), places=(8, 8)),
        Task("edge", "binary", places=(8, 8)),
        Task("all", "regression"),
    ]
    targets = {
        "depth": known((rows, 8, 8), 1),
        "kind": known((rows, 8, 8), 2, classes=3),
        "edge": known((rows, 8, 8), 3, classes=2),
        "all": known((rows,), 4),
    }
    return "resnet", {"width": 4}, spec, inputs, tasks, targets


def text(rows):
    shape = (rows, 6)
    spec = InputSpec(other=(("words", (6,)),), tokens=(("words", (6,), 20),))
    inputs = {"words": known(shape, 0, missing=0, classes=20)}
    tasks = [
        Task("tag", "multiclass", classes=(0, 1, 2), places=(6,)),
        Task("long", "binary", places=(6,)),
        Task("about", "multiclass", classes=(0, 1)),
    ]
    targets = {
        "tag": known(shape, 1, classes=3),
        "long": known(shape, 2, classes=2),
        "about": known((rows,), 3, classes=2),
    }
    return "transformer", {"width": 8, "heads": 2}, spec, inputs, tasks, targets


def molecule(rows):
    other = (("atoms", (4,)), ("positions", (4, 3)))
    spec = InputSpec(other=other, tokens=(("atoms", (4,), 9),))
    atoms = known((rows, 4), 0, missing=0, classes=9)
    inputs = {"atoms": atoms, "positions": known((rows, 4, 3), 1, missing=0)}
    tasks = [Task("energy", "regression"), Task("toxic", "binary")]
    targets = {"energy": known((rows,), 2), "toxic": known((rows,), 3, classes=2)}
    return "molecule", {"width": 8, "layers": 2}, spec, inputs, tasks, targets


CASES = {"mlp": table, "resnet": image, "transformer": text, "molecule": molecule}


def network(case, rows=24, architecture="hard_sharing", double=False):
    name, options, spec, inputs, listed, targets = CASES[case](rows)
    tasks = {task.name: task for task in listed}
    torch.manual_seed(0)
    model = create_architecture(architecture, create_encoder(name, spec, **options), tasks)
    if double:
        model = model.double()
        inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    return model, tasks, inputs, targets


def product(answers, inputs, tangent):
    """J v by ordinary (reverse) gradients, one output after the other."""
    with torch.enable_grad():
        outputs = answers(inputs)
    found = {}
    for task, output in outputs.items():
        column = []
        for value in output.flatten():
            given = torch.autograd.grad(
                value,
                [answers.trained[name] for name in tangent],
                retain_graph=True,
                allow_unused=True,
            )
            pairs = zip(given, tangent.values(), strict=True)
            column.append(sum(float((g * t).sum()) for g, t in pairs if g is not None))
        found[task] = torch.tensor(column, dtype=torch.float64).reshape(output.shape)
    return found


@pytest.mark.parametrize("case", CASES)
def test_forward_mode_is_the_product_and_what_differences_say(case):
    model, tasks, inputs, _ = network(case, rows=2, double=True)
    answers = Answers(model, tasks)
    with still(answers):
        users = answers.users(inputs)
        assert answers.supports_forward_mode(inputs, users)
        outputs = answers(inputs)
        for names in users:
            tangent = answers.direction(names, 1, 3, 0)
            found = answers.forward_mode(inputs, tangent)
            near = answers.differences(inputs, tangent, outputs)
            exact = product(answers, inputs, tangent)
            for task in tasks:
                torch.testing.assert_close(found[task], exact[task], rtol=1e-9, atol=1e-10)
                off = (near[task] - found[task]).norm() / found[task].norm()
                assert off < 0.1  # activations with a kink on the way


@pytest.mark.parametrize("case", CASES)
def test_shared_and_own_parameters(case):
    model, tasks, inputs, _ = network(case)
    answers = Answers(model, tasks)
    with still(answers):
        users = answers.users(inputs)
    who = {f"model.{name}": len(tasks) for name, tasks in model.shared_parameters().items()}
    # An embedding of a code that is not there has a gradient of zero, and yet is used.
    assert set(users.shared) == {name for name, number in who.items() if number > 1}
    assert set(users.own) == {name for name, number in who.items() if number == 1}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_task_end_to_end(case):
    model, tasks, inputs, targets = network(case)
    batches = Batches(inputs, targets, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record = projected_gradient_affinity(model, tasks, batches, batches, **SMALL)
    again = projected_gradient_affinity(
        model, tasks, Batches(inputs, targets, 10), batches, **SMALL
    )
    assert json.loads(json.dumps(record, allow_nan=False)) == again == record
    assert record["derivatives"] == "differences"
    assert record["undefined"] == {}
    for name in tasks:
        alone = record["alone"][name]
        assert alone["loss"] < alone["start"]  # the very rows that it is trained on
    for entry in record["subsets"]:
        assert set(entry["gains"]) == set(entry["tasks"])
        # Trained and judged on the same rows, no task fares better with others than alone.
        assert all(gain <= 1e-3 for gain in entry["gains"].values()), entry
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("case", CASES)
def test_items_are_those_of_the_task_and_can_be_fewer(case, monkeypatch):
    model, tasks, inputs, targets = network(case)
    batches = Batches(inputs, targets, 10)
    answers = Answers(model, tasks)
    with still(answers):
        users = answers.users(inputs)
        way = linear.Directions(3, 1, 0, users, forward_mode=True)
        read = linear.read_rows(batches, 24, answers, "training")
        whole = linear.linearise(answers, tasks, read, way, 10**6, 0)
        with torch.no_grad():
            outputs = answers(inputs)
        for name, task in tasks.items():
            items, target = task.items(outputs[name].double(), targets[name])
            torch.testing.assert_close(whole[name].start, items, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(whole[name].target, target, equal_nan=True)
            assert whole[name].derivatives.shape == (*items.shape, 4)
        width = sum(task.output_size for task in tasks.values())
        monkeypatch.setattr(linear, "NUMBERS", 7 * 4 * width)
        some = linear.linearise(answers, tasks, read, way, 10**6, 0)
        asked = linear.linearise(answers, tasks, read, way, 5, 0)
    for name in tasks:
        assert len(some[name].start) == min(7, len(whole[name].start))
        assert len(asked[name].start) == min(5, len(whole[name].start))
        rows = {tuple(row) for row in whole[name].derivatives.flatten(1).tolist()}
        assert {tuple(row) for row in some[name].derivatives.flatten(1).tolist()} <= rows
