"""What is known and checked of a selection before its first run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polytask.auxiliary import label_statistics
from polytask.data import Dataset
from polytask.study.facts import Splits, check_splits, facts
from polytask.study.helpers import check_helpers, helper_tasks, with_helpers
from polytask.study.rehearsal import try_out
from polytask.study.selection.plan import SelectionPlan
from polytask.study.selection.settings import Recipe
from polytask.study.settings import Choice

if TYPE_CHECKING:
    from polytask.study.unit import EncoderMaker


def read_recipes(choices: Sequence[Choice], dataset: Dataset) -> tuple[Recipe, ...]:
    """The recipes with the names of the tasks that they make.

    Raises `UserError` for a recipe that does not fit the data, and for a name that is taken.
    """
    helper_tasks(choices, dataset)  # all of them together: no name twice
    return tuple(Recipe(c, tuple(helper_tasks([c], dataset))) for c in choices)


def check(
    plan: SelectionPlan,
    dataset: Dataset,
    make_encoder: EncoderMaker | None,
    card: Mapping[str, Any],
    ended: Collection[str],
) -> dict[str, Any]:
    """Everything that can be wrong without training: splits, tasks, network, method, options.

    The network of all candidates is rehearsed for one step; sets of fewer are like it. One whose
    cost has been measured (its hash is in `ended`) is known to work. Returns the facts of the data
    for the analysis. Raises `UserError`.
    """
    s = plan.settings
    splits = check_splits(dataset, s.seeds, s.split, s.test_fraction, s.val_fraction)
    try_out(plan.probe(plan.everyone), dataset, make_encoder, s.select, ended)
    found = facts(dataset, splits, card)
    if s.auxiliary:
        made, factor = check_helpers(s, dataset, splits)
        found["tasks"] |= {name: made[name] for name in s.tasks if name in made}
        found["dataset"]["rows_with_helpers"] = factor
    return {**found, "labels": _labels(plan, dataset, splits[0])}


def _labels(plan: SelectionPlan, dataset: Dataset, splits: Splits) -> dict[str, dict[str, Any]]:
    """Statistics of the candidates' labels in the training part of seed 0."""
    s = plan.settings
    config = {"auxiliary": [choice.to_dict() for choice in s.auxiliary], "seed": 0}
    made, parts = with_helpers(config, dataset, splits)
    found = label_statistics(
        {name: made.tasks[name] for name in s.tasks},
        {name: made.targets[name] for name in s.tasks},
        plan.selection.main,
        train=parts["train"],
    )
    return {name: statistics.to_dict() for name, statistics in found.items()}
