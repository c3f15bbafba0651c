"""Who gains from whom: copies help, noise does not; nothing is left behind; what is refused."""

import itertools
import json
import random

import numpy as np
import pytest
import torch
from real_tasks import digits
from surrogate_cases import Linear, halves, regressions
from torch import nn

from polytask.architectures import HardSharing
from polytask.data import Batches
from polytask.errors import UserError
from polytask.relationships import subset_affinity
from polytask.tasks import Task
from polytask.training import Trainer, projected_gradient_affinity
from polytask.training._surrogate_directions import Answers, still
from polytask.training._surrogate_subsets import choose_subsets, default_size, reachable

FEW = {"directions": 20, "rows": 100}


def table(record, **options):
    groups = [(entry["tasks"], entry["gains"]) for entry in record["subsets"]]
    return subset_affinity(groups, tasks=record["tasks"], cover=record["cover"], **options)


def clusters(seed=0, rows=1500, learned=300, columns=20):
    """Eight tasks on two sets of three features, half of them binary, most labels missing."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(rows, columns))
    weights = chance.normal(size=(2, 3, columns)) / np.sqrt(columns)
    tasks, targets = {}, {}
    for number in range(8):
        y = np.tanh(2 * x @ weights[number % 2].T) @ chance.normal(size=3)
        y += 0.2 * chance.normal(size=rows)
        binary = number >= 4
        y = np.where(chance.random(rows) < 0.6, np.nan, y > 0 if binary else y)
        task = Task(f"t{number}", "binary" if binary else "regression")
        encoded = task.encode(y)
        tasks[task.name] = task.fitted(encoded[:learned])
        targets[task.name] = torch.from_numpy(encoded)
    inputs = {"x": torch.from_numpy(x).float()}
    parts = [
        ({"x": inputs["x"][part]}, {name: value[part] for name, value in targets.items()})
        for part in (slice(None, learned), slice(learned, None))
    ]
    return tasks, *parts


def trained(tasks, train, held, seed=0, epochs=20):
    torch.manual_seed(seed)
    columns = train[0]["x"].shape[1]
    encoder = nn.Sequential(nn.Linear(columns, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    encoder.output_size = 32
    model = HardSharing(encoder, tasks)
    trainer = Trainer(model, tasks, epochs=epochs, lr=3e-3, progress=False, device="cpu")
    trainer.fit(Batches(*train, 64, shuffle=True), Batches(*held, 2000))
    return model


@pytest.mark.slow
def test_tasks_of_a_cluster_help_one_another():
    tasks, train, held = clusters()
    model = trained(tasks, train, held)
    batches = Batches(*train, 300), Batches(*held, 1200)
    record = projected_gradient_affinity(model, tasks, *batches, rows=1200)
    same = np.array([[i % 2 == j % 2 for j in range(8)] for i in range(8)])
    off = ~np.eye(8, dtype=bool)
    for aggregate, least in (("mean", 0.65), ("regression", 0.8)):
        values = table(record, aggregate=aggregate).values
        inside, across = values[same & off], values[~same]
        above = (inside[:, None] > across[None]).mean()  # the area under the curve
        assert above > least
        assert inside.mean() > across.mean()


@pytest.mark.parametrize("seed", range(3))
def test_more_labels_of_the_same_help_and_shuffled_ones_do_not(seed):
    tasks, inputs, targets = regressions("a", columns=30, rows=1000, missing=0.0, seed=seed)
    tasks |= {name: Task(name, "regression") for name in ("again", "noise")}
    y = targets["a"]
    learned = {name: torch.full_like(y[:60], torch.nan) for name in tasks}
    learned["a"][:30], learned["again"][30:] = y[:30], y[30:60]  # each has half of the labels
    learned["noise"] = y[:60][torch.randperm(60, generator=torch.Generator().manual_seed(seed))]
    train = Batches({"x": inputs["x"][:60]}, learned, 60)
    held = Batches({"x": inputs["x"][60:]}, dict.fromkeys(tasks, y[60:]), 940)
    record = projected_gradient_affinity(Linear(tasks, 30, seed), tasks, train, held, size=2)
    found = table(record)
    for one, other in (("a", "again"), ("again", "a")):
        assert found[one][other] > 0.1
        assert found[one]["noise"] < 0.0


def test_digits_end_to_end():
    real = digits(missing=0.2)
    trainer = Trainer(real.model(), real.tasks, epochs=5, progress=False, device="cpu")
    trainer.fit(real.batches(), real.batches("val"))
    model = trainer.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts = real.batches(size=400, shuffle=False), real.batches("val", size=400)
    record = projected_gradient_affinity(model, real.tasks, *parts, **FEW)
    again = projected_gradient_affinity(model, real.tasks, *parts, **FEW)
    assert json.loads(json.dumps(record, allow_nan=False)) == again == record
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    other = projected_gradient_affinity(model, real.tasks, *parts, **FEW, seed=1)
    assert other["subsets"] != record["subsets"]
    assert record["rows"] == {"train": 100, "held_out": 100}
    assert record["passes"] == 21
    assert [entry["tasks"] for entry in record["subsets"]] == [
        list(pair) for pair in itertools.combinations(real.tasks, 2)
    ]
    for name in ("odd", "ink"):  # for ten digits a hundred rows are few
        assert record["alone"][name]["loss"] < record["alone"][name]["start"]
    values = table(record).values
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 1


class Restless(nn.Module):
    """Batch norm, dropout and, in training, chance of three kinds."""

    def __init__(self, columns):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(columns, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)
        )
        self.output_size = 8

    def forward(self, inputs):
        if self.training:
            random.random(), np.random.rand()
        return self.layers(inputs)


def test_nothing_is_left_behind():
    real = digits(rows=200)
    torch.manual_seed(0)
    model = HardSharing(Restless(64), real.tasks)
    model.train()
    model.encoder.layers[1].eval()  # frozen statistics
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    chances = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    parts = real.batches(size=400, shuffle=False), real.batches("val", size=400)
    projected_gradient_affinity(model, real.tasks, *parts, directions=3, head_directions=2, rows=50)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), chances[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == chances[1:]


class Twice(torch.autograd.Function):
    """An operation without a forward derivative."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class Odd(Linear):
    """Outputs through `Twice`, or with a derivative that forward mode alone loses."""

    def __init__(self, tasks, columns, way):
        super().__init__(tasks, columns)
        self.way = way

    def forward(self, inputs):
        outputs = super().forward(inputs)
        if self.way == "none":
            return {name: Twice.apply(output) for name, output in outputs.items()}
        lost = torch.autograd.forward_ad.unpack_dual(self.shared).tangent is not None
        return {n: 2 * (output.detach() if lost else output) for n, output in outputs.items()}


@pytest.mark.parametrize("way", ["none", "lost"])
def test_differences_where_forward_mode_cannot(way):
    tasks, inputs, targets = regressions()
    parts = halves(inputs, targets)
    model = Odd(tasks, 4, way)
    options = {"directions": 6, "head_directions": 3, "derivatives": "forward"}
    record = projected_gradient_affinity(model, tasks, *parts, **options)
    assert record["derivatives"] == "differences"
    plain = Linear(tasks, 4)
    doubled = {"x": 2 * inputs["x"]}
    oracle = projected_gradient_affinity(plain, tasks, *halves(doubled, targets), **options)
    assert oracle["derivatives"] == "forward"
    assert (record["passes"], oracle["passes"]) == (10, 19)
    for one, other in zip(record["subsets"], oracle["subsets"], strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-6)


def test_frozen_parameters_and_partly_shared_ones():
    tasks, inputs, _ = regressions()
    model = Linear(tasks, 4)
    model.own["b"].requires_grad_(False)
    answers = Answers(model, tasks)
    with still(answers):
        users = answers.users(inputs)
    assert users.shared == ("model.shared",)
    assert users.own == ("model.own.a", "model.own.c")


def test_a_task_without_labels_has_no_gain_and_harms_nobody():
    tasks, inputs, targets = regressions("abcd")
    train, held = halves(inputs, targets)
    train.targets["a"] = torch.full_like(train.targets["a"], torch.nan)
    held.targets["b"] = torch.full_like(held.targets["b"], torch.nan)
    record = projected_gradient_affinity(Linear(tasks, 4), tasks, train, held, directions=6, size=2)
    assert record["undefined"] == {
        "a": "none of the training rows that were read has a label of it",
        "b": "none of the held-out rows that were read has a label of it",
    }
    found = table(record)
    assert np.isnan([found[i][j] for i in "ab" for j in "abcd" if i != j]).all()
    assert found["c"]["a"] == pytest.approx(0, abs=1e-6)
    assert found["c"]["b"] != 0
    del held.targets["b"], train.targets["a"]
    again = projected_gradient_affinity(Linear(tasks, 4), tasks, train, held, directions=6, size=2)
    assert again == record


def test_pairs_that_few_groups_hold_are_not_known():
    tasks, inputs, targets = regressions("abcd")
    record = projected_gradient_affinity(
        Linear(tasks, 4), tasks, *halves(inputs, targets), directions=6, size=2, subsets=2
    )
    assert (record["cover"], len(record["subsets"])) == (1, 2)
    seen = {tuple(entry["tasks"]) for entry in record["subsets"]}
    values = table(record).values
    for i, j in itertools.combinations(range(4), 2):
        told = ("abcd"[i], "abcd"[j]) in seen
        assert np.isfinite(values[i, j]) == np.isfinite(values[j, i]) == told


class Wrapped(Linear):
    """Takes inputs that nobody can cut by rows."""

    def forward(self, inputs):
        return super().forward({"x": inputs["graph"].x})


class Graph:
    def __init__(self, x):
        self.x = x


def test_batches_that_cannot_be_cut_are_read_whole():
    tasks, inputs, targets = regressions()
    train, held = halves(inputs, targets, size=12)
    wrapped = [[({"graph": Graph(x["x"])}, y) for x, y in part] for part in (train, held)]
    options = {"directions": 5, "rows": 20}
    record = projected_gradient_affinity(Wrapped(tasks, 4), tasks, *wrapped, **options)
    assert record["rows"] == {"train": 24, "held_out": 24}
    options["rows"] = 24
    assert projected_gradient_affinity(Linear(tasks, 4), tasks, train, held, **options) == record


@pytest.mark.parametrize(("tasks", "size"), [(2, 2), (3, 2), (5, 3), (9, 3), (12, 5), (30, 7)])
def test_groups_cover_all_pairs_evenly(tasks, size):
    found = choose_subsets(tasks, size, 3, None, np.random.default_rng(0))
    assert len(set(found)) == len(found)
    assert all(len(set(group)) == size and list(group) == sorted(group) for group in found)
    counts = np.zeros((tasks, tasks), int)
    for group in found:
        counts[np.ix_(group, group)] += 1
    pairs = counts[np.triu_indices(tasks, 1)]
    assert pairs.min() == reachable(tasks, size, 3)
    assert pairs.mean() < 1.7 * pairs.min()
    assert len(choose_subsets(tasks, size, 3, 2, np.random.default_rng(0))) == min(2, len(found))


def test_sizes_of_groups():
    assert [default_size(n) for n in (2, 3, 4, 8, 16, 40)] == [2, 2, 3, 3, 4, 10]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "middle"}, "unknown start of the surrogate 'middle'"),
        ({"derivatives": "exact"}, "unknown derivatives of the surrogate"),
        ({"directions": 0}, "directions must be"),
        ({"head_directions": -1}, "head_directions must be"),
        ({"rows": 0}, "rows must be"),
        ({"items": 0}, "items must be"),
        ({"subsets": 0}, "subsets must be"),
        ({"size": 1}, "size must be"),
        ({"size": 4}, "size=4 is more than 3 tasks"),
        ({"cover": True}, "cover must be"),
        ({"ridge": -1.0}, "ridge must be"),
        ({"seed": -1}, "seed must be"),
        ({"tasks": {"a": Task("a", "regression")}}, "at least two tasks, found 1 task"),
        ({"train": []}, "the training batches hold no rows"),
        ({"held_out": []}, "the held-out batches hold no rows"),
    ],
)
def test_what_is_refused(options, said):
    tasks, inputs, targets = regressions()
    train, held = halves(inputs, targets)
    given = {"tasks": tasks, "train": train, "held_out": held} | options
    with pytest.raises(UserError, match=said):
        projected_gradient_affinity(Linear(tasks, 4), **given)


def test_networks_that_cannot_be_followed():
    tasks, inputs, targets = regressions()
    parts = halves(inputs, targets)
    model = Linear(tasks, 4)
    model.shared.requires_grad_(False)
    with pytest.raises(UserError, match="no trained parameter that two tasks use"):
        projected_gradient_affinity(model, tasks, *parts)
    model = Linear(tasks, 4)
    with torch.no_grad():
        model.own["b"].fill_(torch.inf)
    with pytest.raises(UserError, match="not finite for b"):
        projected_gradient_affinity(model, tasks, *parts, directions=3)
    still_inputs = {"x": torch.zeros_like(inputs["x"])}
    with pytest.raises(UserError, match="no output moves"):
        projected_gradient_affinity(Linear(tasks, 4), tasks, *halves(still_inputs, targets))
