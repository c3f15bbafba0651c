"""Features of networks at every stage: which rows, what is pooled, and what is left as it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from real_tasks import digits
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from polytask.architectures import create_architecture, create_encoder
from polytask.data import Batches, InputSpec
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training import Trainer, represent

TASK = Task("y", "binary")
BOTH = pytest.mark.parametrize("name", ["hard_sharing", "single_task"])


def batches(inputs: dict[str, Tensor], size: int = 7, **options) -> Batches:
    rows = len(next(iter(inputs.values())))
    return Batches(inputs, {"y": torch.zeros(rows, dtype=torch.int64)}, size, **options)


def network(encoder: str, spec: InputSpec, name: str = "hard_sharing", **options):
    torch.manual_seed(0)
    return create_architecture(name, create_encoder(encoder, spec, **options), [TASK])


def table() -> tuple[dict[str, Tensor], InputSpec]:
    x = load_wine().data[:40]
    x = (x - x.mean(0)) / x.std(0)
    return {"numeric": torch.tensor(x, dtype=torch.float32)}, InputSpec(numeric=13)


def images() -> tuple[dict[str, Tensor], InputSpec]:
    x = load_digits().images[:40, None] / 16
    return {"image": torch.tensor(x, dtype=torch.float32)}, InputSpec(image=(1, 8, 8))


def lines() -> tuple[dict[str, Tensor], InputSpec]:
    """Lengths of the words of real lines of text; 0 is padding."""
    text = [line.split() for line in load_breast_cancer().DESCR.splitlines()][:40]
    codes = torch.zeros(len(text), 12, dtype=torch.int64)
    for row, words in enumerate(text):
        codes[row, : len(words)] = torch.tensor([min(len(w), 9) for w in words[:12]])
    spec = InputSpec(other=(("words", (12,)),), tokens=(("words", (12,), 10),))
    return {"words": codes}, spec


def molecules() -> tuple[dict[str, Tensor], InputSpec]:
    """Water and carbon dioxide, at ten sizes each; places without an atom behind them."""
    water = [(0, 0, 0.117), (0, 0.757, -0.469), (0, -0.757, -0.469)]
    dioxide = [(0, 0, 0), (0, 0, 1.162), (0, 0, -1.162)]
    shapes = torch.tensor([water, dioxide])
    positions = torch.cat([shapes * scale for scale in torch.linspace(0.9, 1.1, 10)])
    atoms = torch.tensor([[8, 1, 1], [6, 8, 8]]).repeat(10, 1)
    pad = nn.functional.pad
    spec = InputSpec(other=(("atoms", (5,)), ("positions", (5, 3))), tokens=(("atoms", (5,), 9),))
    return {"atoms": pad(atoms, (0, 2)), "positions": pad(positions, (0, 0, 0, 2))}, spec


ENCODERS = {
    "mlp": (table, {"hidden": [16, 8]}, [16, 8]),
    "resnet": (images, {"width": 4}, [4, 4, 8, 16]),
    "transformer": (lines, {"width": 16, "layers": 3}, [16] * 3),
    "molecule": (molecules, {"width": 8, "layers": 2}, [8] * 2),
}


@BOTH
@pytest.mark.parametrize("encoder", ENCODERS)
def test_one_vector_a_row_at_every_stage(encoder, name) -> None:
    make, options, widths = ENCODERS[encoder]
    inputs, spec = make()
    model = network(encoder, spec, name, **options)
    found = represent(model, batches(inputs), rows=17)
    assert {stage: array.shape for stage, array in found.items()} == {
        stage: (17, width) for stage, width in enumerate(widths)
    }
    assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in found.values())
    assert all(len(np.unique(a, axis=0)) > 3 for a in found.values())
    # What the head reads of the last stage is what it makes its answer of.
    head = model.heads["y"].layers
    places = torch.from_numpy(np.linspace(0, len(next(iter(inputs.values()))) - 1, 17).round())
    with torch.no_grad():
        answer = model.eval()({k: v[places.long()] for k, v in inputs.items()})["y"]
        ours = head(torch.from_numpy(found[len(widths) - 1]))
    torch.testing.assert_close(ours, answer, rtol=1e-4, atol=1e-5)


def test_stages_of_a_table_by_hand() -> None:
    inputs, spec = table()
    model = network("mlp", spec, hidden=[16, 8])
    found = represent(model, batches(inputs), rows=None)
    with torch.no_grad():
        first = model.encoder.stages[0](inputs["numeric"])
        second = model.encoder.stages[1](first)
    torch.testing.assert_close(torch.from_numpy(found[0]), first)
    torch.testing.assert_close(torch.from_numpy(found[1]), second)
    only = represent(model, batches(inputs), rows=None, depth=-2)
    assert list(only) == [0]
    np.testing.assert_array_equal(only[0], found[0])


def test_images_are_averaged_over_places() -> None:
    inputs, spec = images()
    model = network("resnet", spec, width=4)
    found = represent(model, batches(inputs, 100), rows=None)
    with torch.no_grad():
        h = model.encoder.entrance(inputs)
        for stage, part in enumerate(model.encoder.stages):
            h = part(h)
            torch.testing.assert_close(torch.from_numpy(found[stage]), h.mean((2, 3)))


@pytest.mark.parametrize(("encoder", "unread"), [("transformer", "words"), ("molecule", "atoms")])
def test_only_places_that_are_there_count(encoder, unread) -> None:
    make, options, _ = ENCODERS[encoder]
    inputs, spec = make()
    model = network(encoder, spec, **options)
    kept = inputs[unread].ne(0).any(0)
    short = {name: value[:, kept] for name, value in inputs.items()}
    if encoder == "transformer":
        # Of three tokens each, one after another: nothing stands behind them.
        inputs = {"words": inputs["words"] * (torch.arange(12) < 3)}
        short = {"words": inputs["words"][:, :3]}
    assert short[unread].shape[1] < inputs[unread].shape[1]
    whole, cut = (represent(model, batches(given)) for given in (inputs, short))
    for stage, array in whole.items():
        np.testing.assert_allclose(array, cut[stage], rtol=1e-4, atol=1e-5)


def test_rows_are_drawn_evenly_or_from_the_first() -> None:
    inputs, spec = table()
    model = network("mlp", spec)
    every = represent(model, batches(inputs), rows=None)[0]
    assert len(every) == len(represent(model, batches(inputs))[0]) == 40
    for rows, places in [(1, [0]), (4, [0, 13, 26, 39]), (40, range(40))]:
        shuffled = batches(inputs, shuffle=True)
        found = represent(model, shuffled, rows)[0]
        np.testing.assert_allclose(found, every[list(places)], atol=1e-6)
        assert shuffled.state_dict() == {"seed": 0, "epoch": 0, "position": 0}
    data = TensorDataset(inputs["numeric"], torch.zeros(40))
    loader = DataLoader(
        data, 9, collate_fn=lambda rows: ({"numeric": torch.stack([x for x, _ in rows])}, {})
    )
    np.testing.assert_allclose(represent(model, loader, 20)[0], every[:20], atol=1e-6)
    assert len(represent(model, loader, 100)[0]) == 40


def test_the_network_and_random_states_are_left_as_they_were() -> None:
    inputs, spec = table()
    model = network("mlp", spec, dropout=0.5)
    model.train()
    model.encoder.stages[0].eval()
    modes = [module.training for module in model.modules()]
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first, again = (represent(model, batches(inputs)) for _ in range(2))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]
    np.testing.assert_array_equal(first[1], again[1])
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(UserError, match="depth"):
        represent(model, batches(inputs), depth=2)
    assert [module.training for module in model.modules()] == modes


def test_a_network_of_several_encoders_asks_whose() -> None:
    inputs, spec = table()
    torch.manual_seed(0)
    tasks = [TASK, Task("z", "binary")]
    model = create_architecture("single_task", create_encoder("mlp", spec), tasks)
    with pytest.raises(UserError, match=r"one encoder a task \(y, z\); say whose"):
        represent(model, batches(inputs))
    with pytest.raises(UserError, match="unknown task 'x'"):
        represent(model, batches(inputs), task="x")
    one, other = (represent(model, batches(inputs), task=task)[1] for task in "yz")
    assert not np.allclose(one, other)


def test_any_encoder_and_any_network_that_says_its_features() -> None:
    data = digits(rows=100)
    found = represent(data.model(), data.batches("val"))
    assert [array.shape for array in found.values()] == [(20, 32)]

    class Own(nn.Module):
        def __init__(self, shared: bool = True) -> None:
            super().__init__()
            self.layer, self.shared = nn.Linear(64, 5), shared

        def forward(self, x, return_features=False):
            z = self.layer(x["x"])
            return {"digit": z}, (z if self.shared else None)

    model = Own()
    with torch.no_grad():
        expected = model.layer(data.val[0]["x"])
    np.testing.assert_allclose(represent(model, data.batches("val"))[0], expected, atol=1e-6)
    with pytest.raises(UserError, match="the tasks of Own share no features"):
        represent(Own(shared=False), data.batches("val"))
    with pytest.raises(UserError, match="Linear does not say what its features are"):
        represent(model.layer, data.batches("val"))
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU())
    example = {"x": data.train[0]["x"][:2]}
    experts = create_architecture("mmoe", encoder, data.tasks, experts=2, example=example)
    found = represent(experts, data.batches("val"))
    assert found[0].shape[0] == 20


def test_training_changes_the_features_of_later_stages() -> None:
    data = digits(rows=200)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
    encoder.output_size = 8
    model = create_architecture("hard_sharing", encoder, data.tasks)
    before = represent(model, data.batches("val"))
    assert [array.shape[1] for array in before.values()] == [16, 8]
    trainer = Trainer(model, data.tasks, epochs=2, lr=1e-2, progress=False)
    trainer.fit(data.train)
    after = represent(model, data.batches("val"))
    assert all(not np.allclose(before[stage], after[stage]) for stage in (0, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows must be a whole number of 1 or more"),
        ({"rows": 2.5}, "rows must be a whole number"),
        ({"depth": 2}, "from 0 to 1, or negative from the end, found 2"),
        ({"depth": -3}, "found -3"),
        ({"depth": True}, "found True"),
    ],
)
def test_faulty_arguments(options, message) -> None:
    inputs, spec = table()
    with pytest.raises(UserError, match=message):
        represent(network("mlp", spec), batches(inputs), **options)


def test_no_rows() -> None:
    spec = table()[1]
    with pytest.raises(UserError, match="no rows in the batches"):
        represent(network("mlp", spec), [])
