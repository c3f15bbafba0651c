"""Losses, metrics, balancers and optimizers of the user's own; settings; tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import polytask
from polytask.optimization import as_balancer
from polytask.tasks import Metric, Task
from polytask.training import Trainer

from .case import Case
from .digits import BEGUN, TASKS, Own, X, fit, trainer

Function = Callable[[Tensor, Tensor], Any]


def loss(case: str, function: Any, says: str, **more: Any) -> Case:
    tasks = {**TASKS, "ink": Task("ink", "regression", loss_function=function)}
    return trainer(f"loss: {case}", fit(tasks=tasks), says, **more)


def metric(case: str, function: Function, says: str, **more: Any) -> Case:
    own = Metric("own", "min", function)
    tasks = {**TASKS, "ink": Task("ink", "regression", metrics=("rmse", own))}
    return trainer(f"metric: {case}", fit(tasks=tasks), says, **more)


def balancer(case: str, function: Any, says: str, **more: Any) -> Case:
    call = fit(method=as_balancer(function))
    return trainer(f"balancer: {case}", call, says, leaves=BEGUN, **more)


def setting(case: str, says: str, **settings: Any) -> Case:
    return trainer(f"setting: {case}", fit(**settings), says)


def task(case: str, call: Callable[[], Any], says: str) -> Case:
    return trainer(f"task: {case}", lambda place: call(), says)


def crash(*_: Any) -> Any:
    raise ZeroDivisionError("division by zero")


PER_ITEM = "one loss per labelled item, shape [32] || found {} || Leave the averaging to polytask"
RAISED = "expected {} || raised {} || by hand on"
NUMBER = "expected one number || returned {} || Reduce it to one"
WEIGHTS = "expected a tensor of 3 weights || returned {} || Give it that shape"
SGD = torch.optim.SGD([nn.Parameter(X[0])], lr=1)

FUNCTIONS = [
    loss("a mean", lambda o, t: ((o - t) ** 2).mean(), PER_ITEM.format("shape []")),
    loss("a module that averages", nn.MSELoss(), PER_ITEM.format("shape []")),
    loss("a number", lambda o, t: 0.5, PER_ITEM.format("float")),
    loss("crashes", crash, RAISED.format("one loss per item", "ZeroDivisionError")),
    loss("wants more", lambda o, t, w: o, RAISED.format("one loss per item", "TypeError")),
    loss(
        "without a graph",
        lambda o, t: (o - t).detach() ** 2,
        "expected one computed from || loss of task 'ink' carries no gradient || detach()",
    ),
    loss(
        "NaN",
        lambda o, t: (o - t).abs().neg().sqrt(),
        "nothing was updated || loss of task 'ink' is nan || lower the learning rate",
        error=FloatingPointError,
        leaves=BEGUN,
    ),
    task(
        "a loss that does not exist",
        lambda: Task("ink", "regression", loss_function="hubber"),
        "Known: huber || 'hubber' || did you mean 'huber'?",
    ),
    metric("crashes", lambda o, t: o.nothing, RAISED.format("one number", "AttributeError")),
    metric("a tensor of many", lambda o, t: o - t, NUMBER.format("shape [32]")),
    metric("nothing returned", lambda o, t: None, NUMBER.format("NoneType")),
    metric("a text", lambda o, t: "good", NUMBER.format("str")),
    balancer("crashes", crash, RAISED.format("weights", "ZeroDivisionError")),
    balancer("too few weights", lambda g: torch.ones(2), WEIGHTS.format("shape [2]")),
    balancer("a list of weights", lambda g: [1, 1, 1], WEIGHTS.format("list")),
    balancer(
        "NaN",
        lambda g: torch.full((3,), torch.nan),
        "nothing was updated || are not finite: [nan, nan, nan] || divisions by 0",
        error=FloatingPointError,
    ),
    setting(
        "an optimizer for a balancer",
        "a name or a balancer || found SGD || polytask.create_method",
        method=SGD,
    ),
    setting(
        "an optimizer that is built",
        "a name or a callable || found one of type SGD || Pass the class",
        optimizer=SGD,
    ),
    setting(
        "a maker that makes no optimizer",
        "expected a torch optimizer || returned NoneType || return the one it builds",
        optimizer=lambda parameters, lr, weight_decay: None,
    ),
    setting(
        "a scheduler that is built",
        "a name or a callable || found one of type StepLR || Pass the class",
        scheduler=torch.optim.lr_scheduler.StepLR(SGD, 1),
    ),
    setting(
        "a main task that is none",
        "Known: digit, ink, odd || main task of GCS: 'inc' || did you mean 'ink'?",
        method=polytask.create_method("gcs", main="inc"),
    ),
    setting(
        "a function for a callback",
        "expected a Callback || found function || Derive it from",
        callbacks=[crash],
    ),
    setting("no epochs", "at least 1 || found 0 || epochs must be", epochs=0),
    setting("half a batch", "a whole number || found 2.5 || batch_size must", batch_size=2.5),
    setting("a rate of NaN", "a number above 0 || found nan || lr must be", lr=float("nan")),
    setting("two rates", "a number above 0 || found [0.1, 0.01] || lr must be", lr=[0.1, 0.01]),
    setting("no seed", "a whole number || found None || at least 0", seed=None),
    setting(
        "a reference of a task that is none",
        "Known: digit || 'inc' || did you mean 'ink'?",
        reference={"inc": 1.0},
    ),
    setting(
        "patience without validation",
        "patience needs validation data || pass val= to fit || or leave it out",
        val=None,
        patience=3,
    ),
    setting(
        "a method of held-out data without it",
        "learns from held-out data || fit got none || pass val, or choose a method",
        val=None,
        method="auto_lambda",
    ),
    task(
        "a slash in its name",
        lambda: Task("depth/near", "regression"),
        "a text without '/' || found 'depth/near' || Rename it",
    ),
    task(
        "two of one name",
        lambda: Trainer(Own(), [TASKS["ink"], TASKS["odd"], TASKS["ink"]]),
        "different names || found ink, odd, ink || Rename all but one",
    ),
    task(
        "names for tasks",
        lambda: Trainer(Own(), ["digit", "odd"]),
        "expected a polytask.Task || found str 'digit' || Describe every task",
    ),
    task(
        "none",
        lambda: Trainer(Own(), {}),
        "needs at least one task || found none || Pass tasks",
    ),
    task(
        "binary of three classes",
        lambda: Task("odd", "binary", classes=("a", "b", "c")),
        "expected exactly 2 classes || found 3 || Pass classes=",
    ),
    task(
        "multiclass without classes",
        lambda: Task("digit", "multiclass"),
        "at least 2 classes || found 0 || Pass classes=",
    ),
    task(
        "a class twice",
        lambda: Task("digit", "multiclass", classes=("a", "b", "a")),
        "expected every class once || class 'a' is given twice || Leave one out",
    ),
    task(
        "custom without a loss",
        lambda: Task("own", "custom"),
        "expected one || found no loss_function || Pass loss_function=",
    ),
    task(
        "a metric of another kind",
        lambda: Task("ink", "regression", metrics=("auroc",)),
        "does not fit a regression task || metric 'auroc' || Metrics that fit: mae",
    ),
]
