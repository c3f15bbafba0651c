"""A term beside the losses: its gradient is added as it is, and no decision sees it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from nets import convolutional, expected, gradients, mlp, multi_depth, task_gradients, tied
from torch import Tensor, nn

import polytask
from polytask.errors import NonFiniteError, UserError

NETS = {"mlp": mlp, "tied": tied, "convolutional": convolutional, "multi_depth": multi_depth}
METHODS = ("linear", "mgda tail", "mgda exact", "mgda features")
# Heads at several depths have no one representation.
CASES = [pair for pair in product(NETS, METHODS) if pair != ("multi_depth", "mgda features")]


def term(net: nn.Module, losses: dict[str, Tensor], h: Tensor | None) -> Tensor:
    """On a shared weight, on one task's head, on an activation, and on what a loss is made of."""
    head = next(iter(net.heads.values())).weight  # type: ignore[union-attr, operator]
    first = next(net.parameters())
    value = 0.3 * first.square().sum() + 0.2 * head.abs().sum() + 0.1 * losses["a"].sqrt()
    return value if h is None else value + 0.05 * h.square().mean()


def term_gradients(net: nn.Module, forward: Any) -> dict[str, Tensor]:
    net.zero_grad()
    term(net, *forward()).backward()
    found = gradients(net)
    net.zero_grad()
    return found


def added(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: sum(g[name] for g in (one, other) if name in g) for name in {**one, **other}}


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("heads", ["plain", "weighted"])
@pytest.mark.parametrize(("name", "method"), CASES)
def test_gradients_are_those_of_the_weighted_sum_and_the_term(
    name: str, method: str, heads: str
) -> None:
    """Checked against one ordinary backward a task, and one of the term."""
    net, forward = NETS[name]()
    rows, beside = task_gradients(net, forward), term_gradients(net, forward)
    word, _, statistic = method.partition(" ")
    options = {"statistic": statistic} if statistic else {}
    balancer = polytask.create_method(word, heads=heads, **options)
    losses, h = forward()
    features = h if statistic == "features" else None
    step = balancer.backward(losses, features=features, penalty=term(net, losses, h))
    same(gradients(net), added(expected(net, rows, step.weights, heads), beside))


@pytest.mark.parametrize("method", ["pcgrad", "uncertainty", "graddrop", "rlw", "famo", "modo"])
def test_no_decision_sees_it(method: str) -> None:
    """The same step with and without, but for the term's own gradient."""
    found, steps = [], []
    for with_term in (False, True):
        net, forward = mlp()
        options = {"generator": torch.Generator().manual_seed(0)}
        balancer = polytask.create_method(method, **options)
        if with_term:
            beside = term_gradients(net, forward)
        losses, h = forward()
        several = [*[forward()[0] for _ in range(balancer.batches - 1)], losses]
        steps.append(
            balancer.backward(
                several if len(several) > 1 else losses,
                closure=lambda forward=forward: forward()[0],
                penalty=term(net, losses, h) if with_term else None,
            )
        )
        found.append(gradients(net))
    same(found[1], added(found[0], beside))
    assert steps[0].statistic == steps[1].statistic
    for task, weight in steps[0].weights.items():
        assert weight.equal(steps[1].weights[task])


def test_it_adds_to_what_is_there() -> None:
    net, forward = mlp()
    balancer = polytask.create_method("pcgrad")
    for _ in range(2):
        losses, h = forward()
        balancer.backward(losses, penalty=term(net, losses, h))
    twice = gradients(net)
    net.zero_grad()
    losses, h = forward()
    balancer.backward(losses, penalty=term(net, losses, h))
    same(twice, {name: 2 * value for name, value in gradients(net).items()})


def test_a_parameter_of_the_term_alone_gets_its_gradient() -> None:
    _, forward = mlp()
    alone = torch.ones(3, dtype=torch.float64, requires_grad=True)
    polytask.create_method("linear").backward(forward()[0], penalty=(alone * alone).sum())
    assert alone.grad is not None
    assert alone.grad.tolist() == [2.0, 2.0, 2.0]


def infinite(net: nn.Module) -> Tensor:
    return (next(net.parameters()) * torch.inf).sum()


def steep(net: nn.Module) -> Tensor:
    """Finite, with an infinite slope."""
    return (next(net.parameters()) * 0).abs().sqrt().sum()


@pytest.mark.parametrize(
    ("make", "message"),
    [(infinite, "the penalty is (inf|nan)"), (steep, "gradient of the penalty is not finite")],
)
@pytest.mark.parametrize("before", [True, False])
def test_what_is_not_finite_leaves_gradients_alone(make: Any, message: str, before: bool) -> None:
    net, forward = mlp()
    balancer = polytask.create_method("mgda")
    if before:
        balancer.backward(forward()[0])
    held = gradients(net)
    losses, _ = forward()
    with pytest.raises(NonFiniteError, match=message):
        balancer.backward(losses, penalty=make(net))
    same(gradients(net), held)


def test_a_loss_that_is_not_finite_keeps_the_term_out_too() -> None:
    net, forward = mlp()
    losses, h = forward()
    losses["b"] = losses["b"] * torch.inf
    with pytest.raises(NonFiniteError, match="'b'"):
        polytask.create_method("mgda").backward(losses, penalty=term(net, forward()[0], h))
    assert gradients(net) == {}


@pytest.mark.parametrize("method", ["linear", "mgda", "graddrop"])
def test_a_scaler_scales_both_alike(method: str) -> None:
    found = []
    for scale in (None, 1.0, 1024.0):
        net, forward = mlp()
        scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
        balancer = (
            polytask.create_method(method, generator=torch.Generator().manual_seed(0))
            if method == "graddrop"
            else polytask.create_method(method)
        )
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        losses, h = forward()
        balancer.backward(losses, scaler=scaler, penalty=term(net, losses, h))
        if scaler is not None:
            scaler.unscale_(optimizer)
        found.append(gradients(net))
    same(found[1], found[0])
    same(found[2], found[0])


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_with_a_scaler_an_overflow_skips_the_step_and_raises_nothing(scale: float) -> None:
    net, forward = mlp()
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = [p.detach().clone() for p in net.parameters()]
    polytask.create_method("linear").backward(forward()[0], scaler=scaler, penalty=steep(net))
    scaler.step(optimizer)
    scaler.update()
    assert all(p.equal(b) for p, b in zip(net.parameters(), before, strict=True))
    assert scaler.get_scale() == scale / 2


@pytest.mark.parametrize("wrong", [0.1, torch.tensor(0.1), torch.ones(2, requires_grad=True) * 2])
def test_what_is_no_scalar_with_a_graph_is_refused(wrong: Any) -> None:
    net, forward = mlp()
    with pytest.raises(UserError, match="a scalar tensor with a graph"):
        polytask.create_method("linear").backward(forward()[0], penalty=wrong)
    assert gradients(net) == {}
