"""Losses of a loop of one's own that no balancer can weigh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from polytask.optimization import create_method

from .case import Case

W = nn.Parameter(torch.ones(3))


def pair() -> dict[str, Tensor]:
    """Two losses that share three parameters."""
    return {"a": (W**2).sum(), "b": (W - 2).square().sum()}


def step(case: str, losses: Callable[[], Any], says: str, **more: Any) -> Case:
    """One backward pass of PCGrad."""
    error = more.pop("error", ValueError)
    return Case(
        case,
        lambda place: create_method("pcgrad").backward(losses(), **more),
        says,
        door="own loop",
        error=error,
    )


def made(case: str, make: Callable[[], Any], says: str, **more: Any) -> Case:
    return Case(case, lambda place: make(), says, door="own loop", **more)


SCALAR = "must be a scalar tensor || found {} || Reduce it"

LOOPS = [
    step(
        "a sum for losses",
        lambda: sum(pair().values()),
        "must be a dict || found Tensor || pass {'a': loss_a, 'b': loss_b}",
    ),
    step("no losses", dict, "has a loss || no task || skip the step when losses is empty"),
    step("a loss of every row", lambda: {"a": W**2, "b": W}, SCALAR.format("(3,)")),
    step(
        "a number for a loss",
        lambda: {**pair(), "b": 0.5},
        "must be a scalar tensor || found float || not its .item()",
    ),
    step(
        "losses without a graph",
        lambda: {name: loss.detach() for name, loss in pair().items()},
        "expected one computed from || carries no gradient || without detach()",
    ),
    step(
        "a loss of NaN",
        lambda: {**pair(), "b": (W - 5).sum() * torch.nan},
        "nothing was updated || the loss of task 'b' (nan) || lower the learning rate",
        error=FloatingPointError,
    ),
    step(
        "tasks that share nothing",
        lambda: {"a": W.sum(), "b": nn.Parameter(torch.ones(2)).sum()},
        "parameters that at least two tasks use || a, b share none || Unfreeze the shared part",
    ),
    step(
        "a statistic that does not exist",
        pair,
        "must be one of 'features', 'tail' || found 'tial' || statistic",
        statistic="tial",
    ),
    step(
        "features of another pass",
        pair,
        "the shared encoder returned || found a tensor without a graph || in this forward pass",
        statistic="features",
        features=torch.ones(3),
    ),
    made(
        "a misspelt method",
        lambda: create_method("pcgard"),
        "Known: adaloss || unknown method 'pcgard' || did you mean 'pcgrad'?",
    ),
    made(
        "an argument that it lacks",
        lambda: create_method("cagrad", cc=3),
        "Known: audit_every || argument of method cagrad: 'cc' || did you mean 'c'?",
    ),
    made(
        "an argument of text",
        lambda: create_method("gradnorm", alpha="much"),
        "should be a number || found 'much' || gradnorm: alpha",
    ),
    made(
        "weights of text",
        lambda: create_method("linear", weights={"a": "2"}),
        "a mapping such as {price: 2} || found {'a': '2'} || linear: weights",
    ),
    made(
        "a main task that no step has",
        lambda: create_method("gcs", main="c").backward(pair(), closure=pair),
        "Known: a, b || unknown main task 'c' || the first step of training must have its loss",
    ),
    made(
        "a Gramian that is not square",
        lambda: create_method("mgda").weights(torch.ones(2, 3)),
        "expected a square Gramian || found shape (2, 3) || Pass J @ J.T",
    ),
    made(
        "a Gramian of NaN",
        lambda: create_method("mgda").weights(torch.full((2, 2), torch.nan)),
        "expected numbers || NaN or infinite || Look at the gradients",
        error=FloatingPointError,
    ),
]
