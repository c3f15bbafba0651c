"""The trial of the first batches finds mistakes early and leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from real_tasks import Real, digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from polytask.errors import UserError
from polytask.tasks import Metric, Task
from polytask.training import Trainer
from polytask.training._trial import first_batch, try_out


class Normed(nn.Module):
    """Batch normalisation and dropout: both would show that a batch has been seen."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.heads = nn.ModuleDict({n: nn.Linear(8, w) for n, w in WIDTHS.items()})

    def forward(self, x: Any) -> dict[str, Tensor]:
        z = self.trunk(x["x"] if isinstance(x, dict) else x)
        return {name: head(z) for name, head in self.heads.items()}


WIDTHS = {"digit": 10, "odd": 1, "ink": 1}


@pytest.fixture(scope="module")
def real() -> Real:
    return digits(rows=300)


def trainer(real: Real, model: nn.Module | None = None, **changed: Task) -> Trainer:
    return Trainer(model or Normed(), {**real.tasks, **changed}, epochs=1, progress=False)


@pytest.mark.parametrize("training", [True, False])
def test_nothing_moves(real: Real, training: bool) -> None:
    tried = trainer(real)
    tried.model.train(training)
    before = {name: value.clone() for name, value in tried.model.state_dict().items()}
    batches, random = real.batches(), torch.get_rng_state()
    position = batches.state_dict()
    try_out(tried, batches, real.batches("val"))
    assert tried.model.training is training
    assert all(torch.equal(before[name], v) for name, v in tried.model.state_dict().items())
    assert all(parameter.grad is None for parameter in tried.model.parameters())
    assert torch.equal(random, torch.get_rng_state())
    assert batches.state_dict() == position


def loader(real: Real, generator: torch.Generator | None = None) -> DataLoader:
    inputs, targets = real.train
    rows = TensorDataset(inputs["x"], *targets.values())

    def collate(chosen: list[tuple[Tensor, ...]]) -> tuple[dict, dict]:
        x, *ys = (torch.stack(column) for column in zip(*chosen, strict=True))
        return {"x": x}, dict(zip(targets, ys, strict=True))

    return DataLoader(rows, 32, shuffle=True, collate_fn=collate, generator=generator)


def test_a_loader_is_looked_at_without_drawing_from_it(real: Real) -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    ((inputs, targets),) = first_batch(loader(real, generator))
    assert inputs["x"].shape == (32, 64)
    assert torch.equal(targets["odd"], real.train[1]["odd"][:32])
    assert torch.equal(generator.get_state(), state)


def test_batches_that_would_be_used_are_left_alone(real: Real) -> None:
    class Stream:
        """Batches that count how often they are asked for."""

        asked = 0

        def __iter__(self) -> Any:
            self.asked += 1
            return iter(real.batches())

    stream = Stream()
    assert first_batch(stream) == []
    try_out(trainer(real), stream, real.batches("val"))
    assert stream.asked == 0


def test_without_validation_nothing_is_run(real: Real) -> None:
    class Eager(Normed):
        """A network that answers in another way when it does not learn."""

        def forward(self, x: Any) -> Any:
            return super().forward(x) if self.training else "features"

    trainer(real, Eager()).fit(real.batches())
    with pytest.raises(UserError, match="a dictionary of outputs by task name, found str"):
        trainer(real, Eager()).fit(real.batches(), real.batches("val"))


def test_what_few_rows_cause_is_no_mistake(real: Real) -> None:
    seen: list[int] = []

    def needs_many(output: Tensor, target: Tensor) -> float:
        seen.append(len(target))
        if len(target) < 60:
            raise ValueError("too few rows for this metric")
        return 0.5 if len(seen) > 1 else float("nan")

    own = Metric("own", "max", needs_many)
    odd = Task("odd", "binary", metrics=("accuracy", own))
    history = trainer(real, odd=odd).fit(real.batches(), real.batches("val", size=20))
    assert history.epochs[-1]["val/odd/own"] == 0.5
    assert seen == [20, 60]


def test_running_out_of_memory_is_no_mistake_of_the_model(real: Real) -> None:
    class Large(Normed):
        def forward(self, x: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        trainer(real, Large()).fit(real.batches(), real.batches("val"))


def test_the_cause_stays_visible(real: Real) -> None:
    class Wrong(Normed):
        def forward(self, x: Any) -> Any:
            return super().forward(x["y"])

    with pytest.raises(UserError, match="could not read the first training batch") as caught:
        trainer(real, Wrong()).fit(real.batches(), real.batches("val"))
    assert isinstance(caught.value.__cause__, KeyError)


def test_gradients_are_asked_of_the_training_batch_only(real: Real) -> None:
    asked: list[bool] = []

    class Watched(Normed):
        def forward(self, x: Any) -> Any:
            asked.append(torch.is_grad_enabled())
            return super().forward(x)

    try_out(trainer(real, Watched()), real.batches(), real.batches("val"))
    assert asked == [True, False]
