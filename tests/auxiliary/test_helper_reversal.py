"""Gradient reversal of a task: heads learn, what they read unlearns, whoever made the head."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from polytask.architectures import create_architecture, create_encoder
from polytask.data import InputSpec
from polytask.errors import UserError
from polytask.optimization import create_method
from polytask.tasks import Task
from polytask.training import build_method

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3
MAKERS: dict[str, Callable[[], dict[str, Any]]] = {
    "default head": dict,
    "hidden layers": lambda: {"head_hidden": (4,)},
    "own head": lambda: {"heads": {"domain": nn.Sequential(nn.Linear(8, 3))}},
}


def network(reverse: float, name: str = "hard_sharing", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    tasks = [
        Task("price", "regression"),
        Task("domain", "multiclass", role="auxiliary", classes=(0, 1, 2), reverse=reverse),
    ]
    encoder = create_encoder("mlp", InputSpec(numeric=5), hidden=(8,))
    return create_architecture(name, encoder, tasks, **options)


def gradients(model: nn.Module, task: str = "domain") -> dict[str, torch.Tensor]:
    output = model({"numeric": X})[task]
    loss = nn.functional.cross_entropy(output, Y) if task == "domain" else output.square().mean()
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("options", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("reverse", [0.5, 1.0, 3.0])
def test_the_sign_changes_below_the_head(
    options: Callable[[], dict[str, Any]], reverse: float
) -> None:
    plain, turned = network(0.0, **options()), network(reverse, **options())
    turned.load_state_dict(dict(zip(turned.state_dict(), plain.state_dict().values(), strict=True)))
    one, other = plain({"numeric": X}), turned({"numeric": X})
    assert all(one[task].equal(other[task]) for task in one)
    before, after = gradients(plain), gradients(turned)
    assert any("encoder" in name for name in before)
    for (name, grad), theirs in zip(before.items(), after.values(), strict=True):
        wanted = grad if "heads" in name else -reverse * grad
        torch.testing.assert_close(theirs, wanted)
    # The other task is as it was.
    before, after = gradients(plain, "price"), gradients(turned, "price")
    for mine, theirs in zip(before.values(), after.values(), strict=True):
        assert mine.equal(theirs)


@pytest.mark.parametrize("name", ["mmoe", "multi_depth", "branched", "cross_stitch", "mtan"])
def test_other_ways_of_sharing_reverse_too(name: str) -> None:
    model = network(2.0, name)
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if hasattr(module, "reverse"):
            module.reverse = 0.0
    before, after = gradients(plain), gradients(model)
    for key, grad in before.items():
        torch.testing.assert_close(after[key], grad if "heads" in key else -2 * grad)


@pytest.mark.parametrize("method", ["pcgrad", "mgda", "gcs"])
def test_balancers_see_the_reversed_gradient(method: str) -> None:
    balancer = create_method(
        method, statistic="exact", **({"main": "price"} if method == "gcs" else {})
    )
    model = network(1.0)
    outputs = model({"numeric": X})
    losses = {
        "price": outputs["price"].square().mean(),
        "domain": nn.functional.cross_entropy(outputs["domain"], Y),
    }
    step = balancer.backward(losses)
    model.zero_grad()
    price, domain = gradients(model, "price"), gradients(model)
    shared = [key for key in price if "encoder" in key]
    product = sum(float((price[key] * domain[key]).sum()) for key in shared)
    assert float(step.gramian[0, 1]) == pytest.approx(product, rel=1e-4)


def test_methods_that_compare_losses_are_refused() -> None:
    tasks = {
        "price": Task("price", "regression"),
        "domain": Task("domain", "binary", role="auxiliary", reverse=1.0),
    }
    with pytest.raises(UserError, match=r"'domain'.*reversed"):
        build_method("auto_lambda", tasks, primary="price")
    build_method("pcgrad", tasks)


def test_an_adversary_hides_the_domain() -> None:
    """Two domains that differ by a shift: with reversal the features tell them less apart."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(400, 5, generator=generator)
    domain = (torch.arange(400) % 2).long()
    x[:, 0] += 2.0 * domain
    y = x[:, 1:3].sum(1, keepdim=True)
    told = {}
    for reverse in (0.0, 1.0):
        torch.manual_seed(0)
        tasks = [
            Task("y", "regression"),
            Task("domain", "multiclass", role="auxiliary", classes=(0, 1), reverse=reverse),
        ]
        encoder = create_encoder("mlp", InputSpec(numeric=5), hidden=(16,))
        model = create_architecture("hard_sharing", encoder, tasks)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(300):
            outputs = model({"numeric": x})
            loss = nn.functional.mse_loss(outputs["y"], y)
            loss = loss + nn.functional.cross_entropy(outputs["domain"], domain)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            outputs = model({"numeric": x})
            assert nn.functional.mse_loss(outputs["y"], y) < 0.1 * y.var()
            told[reverse] = float((outputs["domain"].argmax(1) == domain).float().mean())
    assert told[0.0] > 0.8
    assert told[1.0] < 0.7


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan"), "1", True])
def test_factors_that_are_none(value: Any) -> None:
    with pytest.raises(UserError, match="finite number of at least 0"):
        Task("domain", "binary", role="auxiliary", reverse=value)


def test_only_helpers_are_reversed() -> None:
    with pytest.raises(UserError, match="role='auxiliary'"):
        Task("domain", "binary", reverse=1.0)


def test_stored_only_where_it_is_in_use() -> None:
    task = Task("domain", "binary", role="auxiliary", reverse=0.5)
    assert Task.from_dict(task.to_dict()) == task
    assert task.to_dict()["reverse"] == 0.5
    plain = Task("domain", "binary", role="auxiliary")
    assert "reverse" not in plain.to_dict()
    assert Task.from_dict(plain.to_dict()) == plain
