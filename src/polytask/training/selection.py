"""Which epoch's weights to keep: one rule over the validation scores of many tasks.

A rule sees validation results only. It gives every epoch a value (higher is better), and the
epoch with the highest value wins; of equal ones the earliest.

- `mean_gain`: mean over the main tasks of the relative gain over a reference score.
- `mean_rank`: mean over the main tasks of the epoch's rank among all epochs (negated).
- `main:NAME`: the primary metric of one task.
- `loss`: the sum over the main tasks of the mean validation losses (negated).
- `{"weighted_loss": {NAME: weight}}`: the sum of weight times mean validation loss over the tasks
  named (negated), for a trade-off that is asked for as a weighted sum.
- `{"worst_loss": {NAME: weight}}`: the largest weight times mean validation loss (negated), the
  weighted Chebyshev distance of the losses from 0, for a trade-off at which these are to be equal.

A score that is undefined at an epoch is left out there, and remarked. When no task has a
defined score the rule cannot choose, which is an error with the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from polytask.errors import UserError, unknown
from polytask.tasks import Task
from polytask.training._rank import MeanRank
from polytask.training._rules import (
    TOGETHER,
    MainTask,
    MeanGain,
    Preferred,
    Rule,
    Score,
    TotalLoss,
    relative_gain,
)

__all__ = ["Rule", "Score", "Select", "check_rule", "make_rule", "relative_gain"]

WORDS = ("mean_gain", "mean_rank", "main:NAME", "loss")

Select = str | Mapping[str, Mapping[str, float]]
"""A rule: its word, or the word of a rule with weights and the weights by task."""


def make_rule(word: Select, tasks: Mapping[str, Task], reference: Mapping[str, Score]) -> Rule:
    """The rule called `word`.

    `reference` is read by `mean_gain` only and holds a score for every main task.
    Raises `UserError` for an unknown rule or task.
    """
    check_rule(word, tasks)
    if isinstance(word, Mapping):
        ((kind, weights),) = word.items()
        return Preferred(kind, [tasks[name] for name in weights], weights)
    main = [task for task in tasks.values() if task.role == "main"]
    if word.startswith("main:"):
        return MainTask(tasks[word.removeprefix("main:")])
    if word == "mean_gain":
        return MeanGain(main, reference)
    return MeanRank(main) if word == "mean_rank" else TotalLoss(main)


def check_rule(word: Select, tasks: Mapping[str, Task]) -> None:
    """Raise `UserError` when `word` is no rule, or a rule that these tasks cannot follow."""
    if isinstance(word, Mapping):
        _check_weights(word, tasks)
        return
    kind, colon, name = str(word).partition(":")
    if kind == "main" and colon:
        if name not in tasks:
            raise unknown("task in select='main:NAME':", name, tasks)
    elif word not in WORDS or word == "main:NAME":
        raise unknown("selection rule", word, WORDS)
    elif not any(task.role == "main" for task in tasks.values()):
        raise UserError(
            f"the rule {word!r} needs a main task, but every task is auxiliary. "
            "Give one the role 'main', or use select='main:NAME'."
        )


def _check_weights(rule: Mapping[str, Mapping[str, float]], tasks: Mapping[str, Task]) -> None:
    """Raise `UserError` unless this is one rule with weights of known tasks."""
    kind, weights = next(iter(rule.items()), ("", None))
    if len(rule) != 1 or not isinstance(weights, Mapping) or not weights:
        raise UserError(
            "select: expected one rule with weights by task, as in {'worst_loss': {'price': 0.7, "
            f"'size': 0.3}}}}, found {dict(rule)!r}."
        )
    if kind not in TOGETHER:
        raise unknown("selection rule with weights", kind, TOGETHER)
    for name, weight in weights.items():
        if name not in tasks:
            raise unknown(f"task in select {kind!r}:", name, tasks)
        right = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not right or not 0 < weight < math.inf:
            raise UserError(
                f"select: the weight of {name!r} must be a number above 0, found {weight!r}."
            )
