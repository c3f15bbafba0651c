"""Heads on frozen representations: what they learn, what a row's loss is, what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from real_tasks import diabetes, digits
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import Tensor, nn

from polytask.architectures import create_architecture, create_encoder
from polytask.data import Batches, InputSpec
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training import _frozen
from polytask.training._frozen import Frozen, fit_head, freeze, row_losses


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def frozen(z: np.ndarray, **targets: np.ndarray) -> Frozen:
    tensors = {name: torch.as_tensor(target) for name, target in targets.items()}
    return Frozen(torch.tensor(z, dtype=torch.float32), None, 1, tensors)


def answers(head: nn.Module, z: np.ndarray) -> Tensor:
    with torch.no_grad():
        answer: Tensor = head(torch.tensor(z, dtype=torch.float32))
    return answer


def test_a_linear_head_finds_a_linear_target(draw) -> None:
    z = draw.normal(size=(120, 6)) * [1, 100, 1e-3, 1, 1, 0] + [0, 5, 1, 0, 0, 3]
    y = (z @ [1.0, -0.02, 700.0, 0.0, 2.0, 9.0]).astype(np.float32)
    task = Task("y", "regression").fitted(y)
    head = fit_head(task, frozen(z, y=y))
    torch.testing.assert_close(
        task.predict(answers(head, z)), torch.from_numpy(y), rtol=1e-3, atol=1e-2
    )


def test_linear_heads_are_as_good_as_those_of_scikit_learn() -> None:
    data = diabetes(missing=0.2)
    (train, known), (test, wanted) = data.train, data.test
    for name, peer in [("progress", LinearRegression()), ("sex", LogisticRegression(C=1e6))]:
        task, labels = data.tasks[name], known[name]
        rows = task.labelled(labels)
        peer.fit(train["x"][rows], labels[rows])
        head = fit_head(task, Frozen(train["x"], None, 1, known))
        fine = task.labelled(wanted[name])
        output = answers(head, test["x"][fine].numpy())
        ours = row_losses(task, output, wanted[name][fine]).mean()
        if name == "sex":
            theirs = torch.tensor(peer.decision_function(test["x"][fine]))[:, None]
        else:
            theirs = torch.tensor((peer.predict(test["x"][fine]) - task.mean) / task.std)[:, None]
        assert ours < 1.05 * row_losses(task, theirs, wanted[name][fine]).mean()
    constant = row_losses(task, torch.zeros_like(output), wanted[name][fine]).mean()
    assert ours < 0.95 * constant


def test_hidden_layers_learn_what_no_line_parts(draw) -> None:
    z = draw.normal(size=(400, 2)).astype(np.float32)
    y = (z[:, 0] * z[:, 1] > 0).astype(np.int64)
    task = Task("y", "binary").fitted(y)
    line, layers = (fit_head(task, frozen(z, y=y), hidden) for hidden in ((), (16,)))
    right = [
        float((task.predict(answers(h, z)) == torch.from_numpy(y)).float().mean())
        for h in (line, layers)
    ]
    assert right[0] < 0.65
    assert right[1] > 0.9
    again = fit_head(task, frozen(z, y=y), (16,))
    other = fit_head(task, frozen(z, y=y), (16,), seed=1)
    assert torch.equal(answers(again, z), answers(layers, z))
    assert not torch.equal(answers(other, z), answers(layers, z))


def test_it_stops_before_noise_is_learned(draw) -> None:
    # As many features as rows: the training rows can be answered exactly, and nobody else's.
    z, y = draw.normal(size=(60, 60)), draw.normal(size=60).astype(np.float32)
    task = Task("y", "regression").fitted(y)
    fresh = draw.normal(size=(400, 60))
    unseen = torch.as_tensor(draw.normal(size=400).astype(np.float32))
    head = fit_head(task, frozen(z, y=y))
    least = row_losses(task, torch.zeros(400, 1), unseen).mean()
    exact = LinearRegression().fit(z, (y - task.mean) / task.std)
    worst = row_losses(task, torch.tensor(exact.predict(fresh))[:, None], unseen).mean()
    assert row_losses(task, answers(head, fresh), unseen).mean() < least + 0.25 * (worst - least)


@pytest.mark.parametrize("labels", [0, 1, 5])
def test_few_labels(draw, labels) -> None:
    z = draw.normal(size=(30, 3))
    y = np.where(np.arange(30) < labels, z[:, 0], np.nan).astype(np.float32)
    head = fit_head(Task("y", "regression"), frozen(z, y=y))
    assert answers(head, z).isfinite().all()
    if not labels:
        assert not answers(head, z).any()


MULTI = {
    "regression": Task("t", "regression"),
    "outputs": Task("t", "regression", size=3),
    "binary": Task("t", "binary"),
    "multiclass": Task("t", "multiclass", classes=(0, 1, 2)),
    "multilabel": Task("t", "multilabel", classes=("x", "y", "z")),
    "dense binary": Task("t", "binary", places=(2, 4)),
    "dense regression": Task("t", "regression", size=2, places=(2, 4)),
    "tags": Task("t", "multiclass", classes=(0, 1, 2), places=(5,)),
    "huber": Task("t", "regression", loss_function="huber", mean=2.0, std=3.0),
    "own": Task("t", "custom", size=2, loss_function=lambda o, t: (o - t).abs()),
}


@pytest.mark.parametrize("name", MULTI)
def test_a_row_s_loss_is_the_task_s_loss_of_that_row(draw, name) -> None:
    task, n = MULTI[name], 12
    wide = task.kind in ("regression", "multilabel", "custom") and task.output_size > 1
    shape = (n, *([task.output_size] if wide else []), *task.places)
    missing = draw.random(shape) < 0.4
    missing[3], missing[4] = True, False
    if task.kind == "custom":
        missing = np.broadcast_to(missing[:, :1], shape)
    codes = draw.integers(0, 2 if task.kind != "multiclass" else 3, size=shape)
    if task.kind in ("binary", "multiclass"):
        target = torch.tensor(np.where(missing, -100, codes))
    else:
        values = codes if task.kind == "multilabel" else draw.normal(size=shape)
        target = torch.tensor(np.where(missing, np.nan, values), dtype=torch.float32)
    output = torch.tensor(draw.normal(size=(n, task.output_size, *task.places))).float()
    found = row_losses(task, output, target)
    assert found.shape == (n,)
    assert np.isnan(found[3])
    for row in range(n):
        value, count = task.loss(output[row : row + 1], target[row : row + 1])
        assert (
            found[row] == pytest.approx(float(value), rel=1e-5) if count else np.isnan(found[row])
        )


def test_a_loss_that_is_not_finite_is_infinite() -> None:
    output = torch.tensor([[torch.inf], [torch.nan], [1.0], [torch.nan]])
    target = torch.tensor([0.0, 0.0, 1.0, torch.nan])
    found = row_losses(Task("t", "regression"), output, target)
    np.testing.assert_array_equal(found, [np.inf, np.inf, 0.0, np.nan])


def text_network() -> tuple[nn.Module, Batches, dict[str, Task]]:
    """Lengths of the words of real lines; at every word whether it is long, and how many."""
    lines = [line.split()[:8] for line in load_breast_cancer().DESCR.splitlines()][:100]
    codes = torch.zeros(len(lines), 8, dtype=torch.int64)
    for row, words in enumerate(lines):
        codes[row, : len(words)] = torch.tensor([min(len(w), 9) for w in words])
    spec = InputSpec(other=(("words", (8,)),), tokens=(("words", (8,), 10),))
    long = torch.where(codes > 0, (codes > 4).long(), -100)
    many = codes.ne(0).sum(1).float()
    tasks = {
        "long": Task("long", "binary").fitted(long),
        "many": Task("many", "regression").fitted(many),
    }
    torch.manual_seed(0)
    encoder = create_encoder("transformer", spec, width=16, layers=1, heads=2)
    model = create_architecture("hard_sharing", encoder, [tasks["many"]])
    return model, Batches({"words": codes}, {"long": long, "many": many}, 32), tasks


def test_tasks_at_every_place_and_of_the_whole_line_from_one_pass() -> None:
    model, batches, tasks = text_network()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    found = freeze(model, batches, tasks, rows=80)
    assert found.items.shape == (80, 16)
    assert found.places is not None
    assert found.places.shape == (80, 8, 16)
    for name, task in tasks.items():
        head = fit_head(task, found)
        with torch.no_grad():
            output = head(found.of(task))
        assert output.shape == ((80, 1, 8) if name == "long" else (80, 1))
        losses = row_losses(task, output, found.targets[name])
        start = row_losses(task, torch.zeros_like(output), found.targets[name])
        assert np.nanmean(losses) < 0.7 * np.nanmean(start)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_maps_are_learned_at_their_places_and_large_ones_on_fewer_rows(monkeypatch) -> None:
    images = torch.tensor(load_digits().images[:120, None] / 16, dtype=torch.float32)
    targets = {
        "dark": (images[:, 0] > 0.5).long(),
        "digit": torch.tensor(load_digits().target[:120]),
    }
    tasks = {
        "dark": Task("dark", "binary").fitted(targets["dark"]),
        "digit": Task("digit", "multiclass", classes=tuple(range(10))),
    }
    assert tasks["dark"].places == (8, 8)
    torch.manual_seed(0)
    encoder = create_encoder("resnet", InputSpec(image=(1, 8, 8)), width=8, blocks=[1, 1])
    model = create_architecture("hard_sharing", encoder, [tasks["digit"]])
    batches = Batches({"image": images}, targets, 50)
    found = freeze(model, batches, tasks, rows=1000)
    assert found.places is not None
    assert found.places.shape == (120, 16, 4, 4)
    for name, task in tasks.items():
        head = fit_head(task, found)
        with torch.no_grad():
            output = head(found.of(task))
        losses = row_losses(task, output, targets[name])
        assert losses.shape == (120,)
        assert losses.mean() < 0.8 * (np.log(2) if name == "dark" else np.log(10))
    monkeypatch.setattr(_frozen, "VALUES", 16 * 4 * 4 * 30)
    assert len(freeze(model, batches, tasks, rows=1000).items) == 30


def test_without_such_tasks_nothing_but_vectors_is_kept() -> None:
    data = digits(rows=200)
    found = freeze(data.model(), data.batches("train"), data.tasks, rows=1000)
    assert found.places is None
    assert found.items.shape == (120, 32)
    assert set(found.targets) == set(data.tasks)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(64, 8), nn.ReLU())
    encoder.output_size = 8
    experts = create_architecture(
        "mmoe", encoder, data.tasks, example={"x": data.train[0]["x"][:2]}
    )
    with pytest.raises(UserError, match="a network with one encoder, found MMoE"):
        freeze(experts, data.batches("train"), data.tasks, 10)
