"""What every architecture must do, over models of transformers and torch-geometric."""

from __future__ import annotations

from itertools import product

import pytest
from backbone_cases import CASES
from real_inputs import Output

from polytask import registry
from polytask.architectures import create_architecture, list_architectures
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

FIRST = ("hard_sharing", "single_task", "mmoe")
REFUSED = {("dmtrl", "gin"), ("sluice", "gin")}
"""These ask for torch's linear or convolutional layers; torch-geometric has its own."""


def some(names: list[str]) -> list[object]:
    """The architectures by name; only those that say most of a backbone are quick to test."""
    slow = pytest.mark.slow
    pairs = [pair for pair in product(names, CASES) if pair not in REFUSED]
    return [pytest.param(p, marks=() if p[0] in FIRST else slow, id="-".join(p)) for p in pairs]


@pytest.mark.parametrize(("architecture", "backbone"), sorted(REFUSED))
def test_an_architecture_says_what_it_lacks(architecture: str, backbone: str) -> None:
    with pytest.raises(UserError, match="linear or convolutional layer"):
        create_architecture(architecture, CASES[backbone][0](), [Output("a"), Output("b")])


class TestBackbones(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=some(list_architectures()))
    def case(self, request: pytest.FixtureRequest) -> None:
        self.architecture, self.backbone = request.param

    def make(self) -> Made:
        model, load = CASES[self.backbone]
        tasks = {name: Output(name, 1 + i) for i, name in enumerate(("price.usd", "type"))}
        takes = registry.find("architecture", self.architecture).arguments
        options = {"example": load(2)} if "example" in takes else {}
        batch = load(6)
        return create_architecture(self.architecture, model(), tasks, **options), batch, tasks
