"""Every registered architecture over every registered encoder, and over a module of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
import torch
from real_inputs import (
    DIGITS,
    MOLECULES,
    TABLE,
    TEXT,
    Output,
    digits,
    first,
    molecules,
    text,
    wine,
)
from torch import Tensor, nn

from polytask import registry
from polytask.architectures import (
    HardSharing,
    create_architecture,
    create_encoder,
    list_architectures,
    list_encoders,
)
from polytask.testing.architectures import ArchitectureConformance, Made

# Names that `nn.ModuleDict` refuses are ordinary column names.
NAMES = ("type", "price.usd", "100 %", "values", "tax", "x_y", "training")
INPUTS = {
    "mlp": (TABLE, wine),
    "molecule": (MOLECULES, molecules),
    "resnet": (DIGITS, digits),
    "transformer": (TEXT, text),
}
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (24, 16)},
    "molecule": {"width": 8, "layers": 2},
    "resnet": {"width": 4},
    "transformer": {"width": 8, "heads": 2, "characters": 4},
}


def quick(architecture: str, encoder: str, count: int) -> bool:
    """One and seven tasks on the cheapest encoder, two on every other; the rest is slow."""
    return encoder == "mlp" or (count == 2 and encoder != "molecule")


def some_tasks(count: int) -> dict[str, Output]:
    return {name: Output(name, 1 + i % 3) for i, name in enumerate(NAMES[:count])}


def build(name: str, encoder: nn.Module, tasks: Any, batch: Any, **options: Any) -> Any:
    """With what it takes of an example and of the options."""
    takes = registry.find("architecture", name).arguments
    options = {"example": first(batch, 2) if isinstance(batch, dict) else batch[:2]} | options
    chosen = {word: value for word, value in options.items() if word in takes}
    return create_architecture(name, encoder, tasks, **chosen)


@pytest.mark.parametrize("encoder", list_encoders())
def test_every_encoder_is_covered(encoder: str) -> None:
    assert encoder in INPUTS, "add the inputs of this encoder"


class TestRegistered(ArchitectureConformance):
    @pytest.fixture(
        autouse=True,
        params=[
            pytest.param(case, marks=() if quick(*case) else pytest.mark.slow)
            for case in product(list_architectures(), list_encoders(), (1, 2, 7))
        ],
        ids=lambda case: "-".join(map(str, case)),
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.architecture, self.encoder, self.count = request.param

    def make(self) -> Made:
        spec, load = INPUTS[self.encoder]
        tasks = some_tasks(self.count)
        batch = first(load()[0], 48)
        encoder = create_encoder(self.encoder, spec, **SMALL[self.encoder])
        return build(self.architecture, encoder, tasks, batch), batch, tasks


class TestOwnModule(ArchitectureConformance):
    """Dropout and batch norm, a width found by a dry run, hidden layers in the heads."""

    @pytest.fixture(autouse=True, params=list_architectures())
    def case(self, request: pytest.FixtureRequest) -> None:
        self.architecture = request.param

    def make(self) -> Made:
        encoder = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2)
        )
        batch = digits()[0]["image"][:32]
        tasks = some_tasks(3)
        return build(self.architecture, encoder, tasks, batch, head_hidden=(8,)), batch, tasks


class Leaking(HardSharing):
    """Wrong on purpose: the second head also reads the first head's answer."""

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Any]:
        outputs, z = super().compute(x, self.task_names)
        one, other = self.task_names
        outputs[other] = outputs[other] + outputs[one].mean()
        return {task: outputs[task] for task in tasks}, z


class PastTheCut(HardSharing):
    """Wrong on purpose: the features are a copy that the outputs do not all run through."""

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Any]:
        outputs, z = super().compute(x, tasks)
        again, _ = super().compute(x, tasks)
        return {task: outputs[task] + again[task] for task in tasks}, z


class Random(HardSharing):
    """Wrong on purpose: noise in eval mode, and a head of a task nobody can train."""

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Any]:
        outputs, z = super().compute(x, tasks)
        dead = {t: o.detach() if t == "type" else o + torch.randn(()) for t, o in outputs.items()}
        return dead, z


class Undeclared(HardSharing):
    """Wrong on purpose: says that the encoder belongs to the first task."""

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        return {n: t[:1] for n, t in super().shared_parameters().items()}


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        (Leaking, "test_a_task_gives_no_gradient_to_what_only_others_use"),
        (Leaking, "test_declared_sharing_is_the_one_in_the_graph"),
        (Leaking, "test_nothing_is_computed_that_the_tasks_do_not_need"),
        (PastTheCut, "test_features_are_a_cut"),
        (Random, "test_every_trainable_parameter_gets_a_gradient"),
        (Random, "test_some_tasks_are_computed_as_all_are"),
        (Random, "test_a_pruned_model_answers_the_same"),
        (Random, "test_evaluation_is_deterministic_and_leaves_no_trace"),
        (Undeclared, "test_declared_sharing_is_the_one_in_the_graph"),
        (Undeclared, "test_a_task_gives_no_gradient_to_what_only_others_use"),
    ],
)
def test_the_suite_catches_a_wrong_architecture(wrong: type[HardSharing], caught_by: str) -> None:
    class Suite(ArchitectureConformance):
        def make(self) -> tuple[HardSharing, Any, Mapping[str, Output]]:
            tasks = some_tasks(2)
            return wrong(create_encoder("mlp", TABLE), tasks), first(wine()[0], 16), tasks

    with pytest.raises(AssertionError):
        getattr(Suite(), caught_by)()
