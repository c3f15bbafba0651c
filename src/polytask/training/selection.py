"""Which epoch's weights to keep: one rule over the validation scores of many tasks.

A rule sees validation results only. It gives every epoch a value (higher is better), and the
epoch with the highest value wins; of equal ones the earliest.

- `mean_gain`: mean over the main tasks of the relative gain over a reference score.
- `mean_rank`: mean over the main tasks of the epoch's rank among all epochs (negated).
- `main:NAME`: the primary metric of one task.
- `loss`: the sum over the main tasks of the mean validation losses (negated).

A score that is undefined at an epoch is left out there, and remarked. When no task has a
defined score the rule cannot choose, which is an error with the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping

from polytask.errors import UserError, unknown
from polytask.tasks import Task
from polytask.training._rank import MeanRank
from polytask.training._rules import MainTask, MeanGain, Rule, Score, TotalLoss, relative_gain

__all__ = ["Rule", "Score", "check_rule", "make_rule", "relative_gain"]

WORDS = ("mean_gain", "mean_rank", "main:NAME", "loss")


def make_rule(word: str, tasks: Mapping[str, Task], reference: Mapping[str, Score]) -> Rule:
    """The rule called `word`.

    `reference` is read by `mean_gain` only and holds a score for every main task.
    Raises `UserError` for an unknown rule or task.
    """
    check_rule(word, tasks)
    main = [task for task in tasks.values() if task.role == "main"]
    if word.startswith("main:"):
        return MainTask(tasks[word.removeprefix("main:")])
    if word == "mean_gain":
        return MeanGain(main, reference)
    return MeanRank(main) if word == "mean_rank" else TotalLoss(main)


def check_rule(word: str, tasks: Mapping[str, Task]) -> None:
    """Raise `UserError` when `word` is no rule, or a rule that these tasks cannot follow."""
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
