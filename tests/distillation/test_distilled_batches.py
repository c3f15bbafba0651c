"""Teachers with early answers, mixtures of data sets, and steps of several batches."""

from __future__ import annotations

import pytest
import torch
from taught_digits import few_labels, fit, same_weights, teacher
from torch import nn

from polytask.architectures.hard_sharing import HardSharing
from polytask.data import Batches, Mixture
from polytask.errors import UserError
from polytask.training import Callback, Distillation, Trainer


@pytest.fixture(scope="module")
def real():
    return few_labels()


class First(Callback):
    """The losses of the first step."""

    def __init__(self) -> None:
        self.losses: dict[str, float] = {}

    def on_batch_end(self, trainer, batch_index, losses) -> None:
        self.losses = self.losses or losses


class Early(HardSharing):
    """Answers early what it answers in the end."""

    def compute(self, x, tasks):
        outputs, z = super().compute(x, tasks)
        for task, output in outputs.items():
            self.supervise(task, output)
        return outputs, z


@pytest.mark.parametrize("form", ["annealed", "features"])
def test_early_answers_are_taught_as_the_last(real, form):
    """In "features" they learn their labels, and the distance counts once."""
    taught = {task: teacher(real, task) for task in real.tasks}
    found = []
    for cls in (HardSharing, Early):
        seen = First()
        model = cls(teacher(real, "odd", width=32).encoder, real.tasks)
        model.load_state_dict(HardSharing(model.encoder, real.tasks).state_dict() | {
            name: torch.full_like(value, 0.01)
            for name, value in model.state_dict().items() if "heads" in name
        })  # fmt: skip
        fit(real, Distillation(taught, form=form), model=model, callbacks=[seen], epochs=1)
        found.append(seen.losses)
    once, twice = found
    for task in real.tasks:
        if form == "annealed":
            assert twice[task] == pytest.approx(2 * once[task], rel=1e-5)
        else:
            assert once[task] < twice[task] < 2 * once[task]


def sources(real, shapes=(64, 64)):
    """Digits for one task, other digits for another; inputs of one name or of two."""
    inputs, targets = real.train
    half = len(inputs["x"]) // 2
    names = ("x", "x") if shapes[0] == shapes[1] else ("x", "z")
    return {
        "digit": ({names[0]: inputs["x"][:half, : shapes[0]]}, {"digit": targets["digit"][:half]}),
        "odd": ({names[1]: inputs["x"][half:, : shapes[1]]}, {"odd": targets["odd"][half:]}),
    }


def train(real, model, mixture, taught):
    tasks = {name: real.tasks[name] for name in ("digit", "odd")}
    distill = Distillation(taught, form="soft", weight=1.0)
    trainer = Trainer(model, tasks, distill=distill, epochs=1, progress=False, lr=1e-2)
    trainer.fit(mixture)
    return trainer.history.epochs[0]


def test_a_data_set_for_each_task(real):
    """One at a time, a task learns from its own rows; together, teachers label all rows."""
    taught = {task: teacher(real, task) for task in ("digit", "odd")}
    rows = len(real.train[0]["x"])

    def model():
        two = {name: real.tasks[name] for name in ("digit", "odd")}
        return HardSharing(teacher(real, "odd", width=32).encoder, two)

    alone = train(real, model(), Mixture(sources(real), "round_robin", batch_size=30), taught)
    assert alone["examples/digit"] == alone["examples/odd"] == rows / 2
    mixture = Mixture(sources(real), tasks_per_step="all", batch_size=30)
    together = train(real, model(), mixture, taught)
    assert together["examples/digit"] == together["examples/odd"] == rows


class TwoInputs(nn.Module):
    """Reads "x" or "z", whichever is there."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.x, self.z = nn.Linear(64, 8), nn.Linear(32, 8)
        self.digit, self.odd = nn.Linear(8, 10), nn.Linear(8, 1)

    def forward(self, inputs):
        h = self.x(inputs["x"]) if "x" in inputs else self.z(inputs["z"])
        return {"digit": self.digit(h), "odd": self.odd(h)}


def test_data_sets_of_different_inputs_in_one_step(real):
    mixture = Mixture(sources(real, (64, 32)), tasks_per_step="all", batch_size=30)
    guide = TwoInputs(1)
    record = train(real, TwoInputs(0), mixture, {"digit": guide, "odd": guide})
    rows = len(real.train[0]["x"])
    assert record["examples/digit"] == record["examples/odd"] == rows / 2


@pytest.mark.parametrize("together", [1, "all"])
def test_features_of_a_data_set_for_each_task(real, together):
    two = {name: real.tasks[name] for name in ("digit", "odd")}
    taught = {task: teacher(real, task) for task in two}
    model = HardSharing(teacher(real, "odd", width=32).encoder, two)
    distill = Distillation(taught, form="features")
    trainer = Trainer(model, two, distill=distill, epochs=1, progress=False)
    trainer.fit(Mixture(sources(real), "uniform", tasks_per_step=together, batch_size=30))
    assert list(trainer._fit.teaching.adapters) == ["digit", "odd"]


def test_an_adapter_must_be_seen_to_be_made(real):
    distill = Distillation({"ink": teacher(real, "ink")}, form="features")
    inputs, targets = real.train
    without = {name: target for name, target in targets.items() if name != "ink"}
    with pytest.raises(UserError, match="first batch has no target of 'ink'"):
        fit(real, distill, data=(Batches(inputs, without, 64),))


def test_batches_that_are_accumulated_share_one_share(real):
    """The share follows optimizer steps, not batches."""
    shares: list[float] = []

    class Shares(Callback):
        def on_batch_begin(self, trainer, batch_index) -> None:
            shares.append(trainer.forward.teaching.share("digit"))

    taught = {"digit": teacher(real, "digit")}
    fit(real, Distillation(taught), callbacks=[Shares()], accumulate=5, epochs=3)
    assert shares == [0.0] * 5 + [0.5] * 5 + [1.0] * 5


def test_the_order_of_batches_stays(real):
    """Looking at a batch, and caching, draw no random number of the training."""
    inputs, targets = real.train
    plain = fit(real, None, epochs=2)

    class Zero(nn.Module):
        def forward(self, x):
            torch.rand(5)
            return torch.zeros(len(x["x"]), 1)

    # A teacher of a task that the batches do not have says nothing.
    silent = Distillation({"ink": Zero()}, form="soft", cache=True)
    without = {name: target for name, target in targets.items() if name != "ink"}
    one = fit(real, None, epochs=2, data=(Batches(inputs, without, 64, shuffle=True),))
    other = fit(real, silent, epochs=2, data=(Batches(inputs, without, 64, shuffle=True),))
    assert same_weights(one.model, other.model)
    assert not same_weights(plain.model, other.model)
