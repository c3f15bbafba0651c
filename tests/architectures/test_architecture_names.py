from __future__ import annotations

import subprocess
import sys

import pytest
from real_inputs import TABLE, Output
from torch import nn

import polytask.architectures as package
from polytask import registry
from polytask.architectures import (
    Architecture,
    HardSharing,
    PerTask,
    create_architecture,
    create_encoder,
    list_architectures,
    list_encoders,
)
from polytask.architectures._per_task import module_key
from polytask.errors import UserError


def test_names() -> None:
    assert {"hard_sharing", "single_task"} <= set(list_architectures())
    assert list_architectures("hard*") == ["hard_sharing"]
    assert {"mlp", "resnet"} <= set(list_encoders())


@pytest.mark.parametrize("name", list_architectures())
def test_every_architecture_says_what_it_is(name: str) -> None:
    entry = registry.find("architecture", name)
    assert entry.summary
    assert entry.constants["shares"]
    assert {"encoder", "tasks", "example"} <= set(entry.arguments)
    assert issubclass(entry.load(), Architecture)


def test_names_are_forgiving_and_mistakes_are_named() -> None:
    encoder = create_encoder("MLP", TABLE, hidden=(4,))
    assert isinstance(create_architecture("HardSharing", encoder, [Output("a")]), HardSharing)
    with pytest.raises(UserError, match="did you mean 'hard_sharing'"):
        create_architecture("hard_sharin", encoder, [Output("a")])
    with pytest.raises(UserError, match="did you mean 'head_hidden'"):
        create_architecture("hard_sharing", encoder, [Output("a")], head_hiden=(4,))
    with pytest.raises(UserError, match="did you mean 'resnet'"):
        create_encoder("resnet18", TABLE)


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys, polytask.architectures as a; a.list_architectures(); a.list_encoders();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_everything_promised_is_there() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = package.Nothing


ODD = [
    "price",
    "price.usd",
    "price%2Eusd",
    "%",
    "type",
    "%74ype",
    "values",
    "training",
    "é.ü",
    "a/b",
]


def test_task_names_have_one_key_each_and_back() -> None:
    container = PerTask({name: nn.Linear(1, i + 1) for i, name in enumerate(ODD)})
    assert list(container) == ODD
    assert len(container) == len(ODD) == len({module_key(name) for name in ODD})
    for i, name in enumerate(ODD):
        assert container[name].get_parameter("weight").shape == (i + 1, 1)
        assert container.get_submodule(module_key(name)) is container[name]
    assert module_key("price") == "price"
    assert "Price" not in container
    container.keep({"type", "%"})
    assert list(container) == ["%", "type"]
    assert len(container.state_dict()) == 4
