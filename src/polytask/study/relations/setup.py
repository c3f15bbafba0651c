"""What is known and checked of a study of relationships before its first run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from polytask.data import Dataset
from polytask.study.facts import check_splits, facts
from polytask.study.rehearsal import try_out
from polytask.study.relations.plan import RelationPlan
from polytask.training import build_method

if TYPE_CHECKING:
    from polytask.study.unit import EncoderMaker


def check(
    plan: RelationPlan,
    dataset: Dataset,
    make_encoder: EncoderMaker | None,
    card: Mapping[str, Any],
    ended: Collection[str],
) -> dict[str, Any]:
    """Everything that can be wrong without training: splits, tasks, network, method, options.

    The network of all tasks is rehearsed for one step; those of fewer are like it. The
    estimators see the data. Returns the facts of the data for the analysis. Raises `UserError`.
    """
    s = plan.settings
    splits = check_splits(dataset, s.seeds, s.split, s.test_fraction, s.val_fraction)
    for measure in plan.measures:
        measure.estimator.prepare(dataset, splits[0])
    probe = plan.probe(plan.everyone)
    chosen = probe.config["method"]
    build_method(chosen["name"], dataset.tasks, **chosen["arguments"])
    try_out(probe, dataset, make_encoder, s.select, ended)
    return facts(dataset, splits, card)
