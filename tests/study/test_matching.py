"""Networks of one size: widths are scaled until the number of parameters is the one asked for."""

import pytest
import torch

from polytask import create_architecture, create_encoder
from polytask.data import InputSpec
from polytask.errors import UserError
from polytask.study.matching import matched, scaled
from polytask.tasks import Task

SPEC = InputSpec(numeric=13)
IMAGE = InputSpec(image=(1, 8, 8))
TASKS = [Task("a", "regression"), Task("b", "binary"), Task("c", "regression")]


def count(spec: InputSpec, architecture: str):
    def parameters(encoder) -> int:
        torch.manual_seed(0)
        built = create_encoder(encoder["name"], spec, **encoder["arguments"])
        model = create_architecture(architecture, built, TASKS)
        return sum(p.numel() for p in model.parameters())

    return parameters


@pytest.mark.parametrize(("name", "spec"), [("mlp", SPEC), ("resnet", IMAGE)])
def test_separate_networks_of_the_size_of_a_shared_one(name: str, spec: InputSpec) -> None:
    encoder = {"name": name, "arguments": {}}
    target = count(spec, "hard_sharing")(encoder)
    separate = count(spec, "single_task")
    assert separate(encoder) > 2.5 * target
    found = matched(encoder, target, separate)
    assert separate(found) == pytest.approx(target, rel=0.1)
    assert found["name"] == name


def test_a_network_of_the_right_size_stays_as_it_is() -> None:
    encoder = {"name": "mlp", "arguments": {"hidden": [40, 30], "dropout": 0.1}}
    shared = count(SPEC, "hard_sharing")
    found = matched(encoder, shared(encoder), shared)
    assert found["arguments"] == {"hidden": [40, 30], "dropout": 0.1}


def test_widths_are_multiples_and_at_least_one() -> None:
    assert scaled({"name": "mlp", "arguments": {"hidden": [8, 2]}}, 0.1)["arguments"] == {
        "hidden": [1, 1]
    }
    assert scaled({"name": "resnet", "arguments": {}}, 1.5)["arguments"] == {"width": 24}


def test_out_of_reach() -> None:
    with pytest.raises(UserError, match="about 1,000,000,000 parameters; the nearest has"):
        matched({"name": "mlp", "arguments": {"hidden": [2]}}, 10**9, count(SPEC, "hard_sharing"))
