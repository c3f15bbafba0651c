"""Names of tasks in a method are checked; what only looks like weights by task is left alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from polytask import Task
from polytask.errors import UserError
from polytask.optimization.loss_weighting.linear import Linear
from polytask.training import build_method

TASKS = {name: Task(name, "regression").fitted(np.arange(4.0)) for name in ("price", "sold")}


class Own(Linear):
    """A method of the user's, with a word of his own."""

    def __init__(self, **words: Any) -> None:
        super().__init__()
        for word, value in words.items():
            setattr(self, word, value)


@pytest.mark.parametrize(
    "held",
    [
        0.3,
        0,
        torch.tensor([0.2, 0.8]),
        np.array([0.2, 0.8]),
        [0.2, 0.8],
        "fast",
        "",
        SimpleNamespace(),
        max,
        {0: 1.0},
        {},
        None,
        range(2),
    ],
    ids=str,
)
@pytest.mark.parametrize("word", ["preference", "primary"])
def test_a_preference_that_is_no_weight_by_task(word: str, held: Any) -> None:
    method = Own(**{word: held})
    assert build_method(method, TASKS) is method


@pytest.mark.parametrize("held", [{"prise": 1.0}, ["sold", "prise"], ("prise",), {"prise", "sold"}])
@pytest.mark.parametrize("word", ["preference", "primary", "fixed"])
def test_a_name_that_is_no_task(word: str, held: Any) -> None:
    with pytest.raises(UserError, match=r"'prise'.*did you mean 'price'"):
        build_method(Own(**{word: held}), TASKS)


def test_of_methods_by_name() -> None:
    with pytest.raises(UserError, match="task in the weights of EPO"):
        build_method("epo", TASKS, preference={"prise": 1.0})
    assert build_method("epo", TASKS, preference={"price": 1.0, "sold": 2.0})
    with pytest.raises(UserError, match="task in the weights of Linear"):
        build_method("linear", TASKS, weights={"prise": 2.0})
