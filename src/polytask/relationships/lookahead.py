"""How much a step on one task lowers the loss of another, from records of one training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polytask.errors import UserError, count
from polytask.relationships._sums import Array, Steps, Sums
from polytask.relationships.affinity import Affinity
from polytask.relationships.conflict import FEWEST, FEWEST_BLOCKS, FEWEST_SEEDS

SAME = ("tasks", "order", "statistic", "evaluate", "optimizer")
"""What records must have in common, or their values mean different things."""


def lookahead(records: Sequence[Mapping[str, Any]]) -> Affinity:
    """Affinities of the look-ahead of Fifty et al. 2021 (arXiv:2109.04617), with their errors.

    `affinity[scored][companion]` is the mean, over the recorded steps of all seeds that measured
    the pair, of 1 - L_scored(after a step on the companion alone) / L_scored(before), or of its
    first-order term: the fraction of the loss that a step wins, see
    `polytask.training.AffinityRecorder`. 0 is no help and below 0 is harm. The diagonal is what a
    task does for itself; it says how large the others may be.

    **Standard error**: the spread of the sums of blocks about their mean, with blocks of
    consecutive recorded steps as in `estimate` (up to 15 a seed, none spanning two); what differs
    between the stages of a training is part of it. From three seeds on the spread of whole seeds
    is taken where it is larger.

    **NaN**: a pair measured in fewer than 8 steps or 4 blocks, and one that has exactly 0 in every
    step where 'tail' read parameters that the two tasks do not share.

    Args:
        records: what `polytask.training.AffinityRecorder.record` gave, one a seed.

    Returns:
        `cost` is a number of ordinary training runs: those that were recorded, and what recording
        added by the recorder's count of steps.

    Raises:
        UserError: no record, or records of different tasks, orders, statistics or optimizers.
    """
    if not records:
        raise UserError("records: expected at least one record of look-aheads, found none.")
    _check_alike(records)
    first = records[0]
    size = len(first["tasks"])
    seeds = [_steps(record["values"], size) for record in records if record["values"]]
    blocks = [block for seed in seeds for block in seed.blocks()]
    sums = Sums(blocks, size)
    by_seed = Sums(seeds, size) if len(seeds) >= FEWEST_SEEDS else sums
    number = sums.counts.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.asarray(sums.cross.sum(0) / number)
    errors = np.fmax(sums.error_of(sums.cross), by_seed.error_of(by_seed.cross))
    unknown = (number < FEWEST) | (sums.groups < FEWEST_BLOCKS)
    if first["order"] == "first" and first["statistic"] == "tail":
        unknown |= ~np.any([np.any(np.nan_to_num(seed.cross), axis=0) for seed in seeds], axis=0)
    return Affinity(
        tuple(first["tasks"]),
        np.where(unknown, np.nan, values),
        np.where(unknown, np.nan, errors),
        _words(records, sum(len(seed.cross) for seed in seeds)),
        round(sum(map(_cost, records)), 3),
    )


def _check_alike(records: Sequence[Mapping[str, Any]]) -> None:
    for key in SAME:
        # A training that recorded nothing does not know its optimizer's preconditioner.
        found = [record[key] for record in records if record["values"] or key != "optimizer"]
        if any(value != found[0] for value in found):
            shown = " and ".join(dict.fromkeys(map(repr, found)))
            raise UserError(f"records: expected the same {key} in all of them, found {shown}.")


def _steps(rows: Sequence[Sequence[float | None]], size: int) -> Steps:
    """The values of one record by step, [S, T, T], NaN where not measured."""
    values: Array = np.array(rows, dtype=np.float64).reshape(len(rows), size, size)
    return Steps(values, values)


def _words(records: Sequence[Mapping[str, Any]], steps: int) -> str:
    """How it was measured: 'look-ahead to first order (tail, ...), SGD, 60 steps of 1 seed'."""
    first = records[0]
    if first["order"] == "first":
        what = f"look-ahead to first order on halves of batches ({first['statistic']})"
    else:
        where = "the same batch" if first["evaluate"] == "same" else "the other half of the batch"
        what = f"exact look-ahead, judged on {where}"
    optimizer = next((record["optimizer"] for record in records if record["optimizer"]), "")
    parts = [what, optimizer, f"{count(steps, 'step')} of {count(len(records), 'seed')}"]
    return ", ".join(part for part in parts if part)


def _cost(record: Mapping[str, Any]) -> float:
    """One training and its recordings, in trainings."""
    made = len(record["values"]) + sum(record["skipped"].values())
    return 1 + (made * record["each"] / record["batches"] if record["batches"] else 0.0)
