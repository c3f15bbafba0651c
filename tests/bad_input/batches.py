"""Batches that do not go with the tasks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from polytask.data import Batches

from .case import Case
from .digits import X, Y, batches, fit, trainer

SPOILT = X.clone()
SPOILT[5, 3] = torch.nan
INFINITE = Y["ink"].clone()
INFINITE[5] = torch.inf


def data(case: str, batches: Any, says: str, **more: Any) -> Case:
    """Training on these batches."""
    return trainer(f"batches: {case}", fit(data=batches), says, **more)


def targets(case: str, says: str, **changed: Any) -> Case:
    """Training on the digits with some targets changed."""
    return data(case, batches(**changed), says)


CODES = "expected class codes 0 to {} || found {} || Encode raw labels with Task.encode"
ABSENT = (
    "expected one for every task || no training batch has a target named {} || Name the targets"
)
PAIR = "a pair (inputs, targets) || found {} || Let the loader give such pairs"
ITERATOR = "iterated again || are an iterator || such as a list or a DataLoader"

BATCHES = [
    targets("classes as fractions", CODES.format(9, 0.5), digit=Y["digit"] + 0.5),
    targets("a class code too high", CODES.format(9, 10), digit=Y["digit"] + 1),
    targets("a negative class code", CODES.format(9, -1), digit=Y["digit"] - 1),
    targets("two classes from 1", CODES.format(1, 2), odd=Y["odd"] + 1),
    targets(
        "one-hot classes",
        "a target of shape [32] || found [32, 10] || Turn one-hot rows into codes",
        digit=nn.functional.one_hot(Y["digit"]),
    ),
    targets(
        "a target of two columns",
        "a target of shape [32, 1] || found [32, 2] || Reshape or encode it",
        ink=Y["ink"][:, None].repeat(1, 2),
    ),
    data(
        "an infinite target",
        batches(ink=INFINITE),
        "before training || has 1 infinite target. || Mark what is missing",
        error=FloatingPointError,
    ),
    data(
        "NaN among the inputs",
        Batches({"x": SPOILT}, Y, 32),
        "before training || the input 'x' of the first batch has 1 value of 2,048 || Fill or",
        error=FloatingPointError,
    ),
    targets("without a task", ABSENT.format("'ink'"), ink=None),
    data("without any task", [({"x": X}, {})], ABSENT.format("'digit', 'odd', 'ink'")),
    data("other names", [({"x": X}, {"label": Y["digit"]})], ABSENT.format("'digit', 'odd'")),
    trainer(
        "batches: fewer targets than rows",
        lambda p: Batches({"x": X}, {"ink": Y["ink"][:50]}, 32),
        "the same number of rows || {'x': 120, 'ink': 50} || Keep inputs and targets",
    ),
    data(
        "fewer targets than rows of a batch",
        [({"x": X[:32]}, {"ink": Y["ink"][:16]})],
        "expected one of each for every row || 32 outputs and 16 targets || of one batch together",
    ),
    data(
        "arrays for targets",
        [({"x": X}, {name: values.numpy() for name, values in Y.items()})],
        "expected a tensor || target 'digit' of a batch is of type ndarray || torch.as_tensor",
    ),
    data(
        "nothing for a target",
        [({"x": X}, {**Y, "ink": None})],
        "expected a tensor || a batch is of type NoneType || leave a task",
    ),
    data(
        "targets in a tuple",
        [({"x": X}, (Y["digit"], Y["odd"]))],
        "a dictionary by task name || found tuple || {'task': tensor}",
    ),
    data("of three parts", [(X, Y, X)], PAIR.format("tuple")),
    data("a tensor", X, PAIR.format("Tensor")),
    data("none", [], "expected at least one || the training data holds no batch || Give it rows"),
    data("used up after an epoch", iter(batches()), ITERATOR),
    data("a generator", (pair for pair in [({"x": X}, Y)]), ITERATOR),
    data(
        "a function",
        lambda: batches(),
        "must be iterable || found function || Give polytask.data.Batches",
    ),
    trainer(
        "batches: none to validate on",
        fit(val=[]),
        "expected at least one || the validation data holds no batch || or leave val out",
    ),
    trainer(
        "batches: other classes to validate on",
        fit(val=batches(digit=Y["digit"] + 5)),
        CODES.format(9, 10),
    ),
]
