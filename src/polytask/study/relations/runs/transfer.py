"""A run that transfers: small heads for every task on the frozen encoder of every task alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polytask.data import Dataset
from polytask.relationships import transfer_affinity
from polytask.study.relations.runs._trained import trained
from polytask.study.unit import EncoderMaker, prepare
from polytask.training._frozen import fit_head, freeze, row_losses


def transfer(
    config: Mapping[str, Any],
    dataset: Dataset,
    folder: Path,
    make_encoder: EncoderMaker | None = None,
) -> dict[str, Any]:
    """The affinities under "transfer", and under "losses" the mean loss by target and source.

    The configuration has "networks", of every task `{"id", "hash"}`; "hidden", the widths of the
    hidden layers of the heads; "rows", how many training rows to fit them on, and how many
    validation rows to judge them on, at most. A row's loss is its mean over outputs and places.
    """
    prepared = prepare(config, dataset)
    tasks = {name: prepared.tasks[name] for name in config["networks"]}
    losses: dict[str, dict[str, np.ndarray]] = {target: {} for target in tasks}
    rows: dict[str, int] = {}
    for source, named in config["networks"].items():
        model = trained(named, dataset, folder, make_encoder).model
        train, val = (
            freeze(model, prepared.judging(part, config["batch_size"]), tasks, config["rows"])
            for part in ("train", "val")
        )
        rows = {"train": len(train.items), "val": len(val.items)}
        for target, task in tasks.items():
            head = fit_head(task, train, config["hidden"], config["seed"])
            with torch.no_grad():
                output = head(val.of(task))
            losses[target][source] = row_losses(task, output, val.targets[target])
    return {
        "transfer": transfer_affinity(losses).to_dict(),
        "losses": {t: {s: _mean(found) for s, found in row.items()} for t, row in losses.items()},
        "rows": rows,
    }


def _mean(losses: np.ndarray) -> float | None:
    """The mean of rows with a label; None where there is none, or it is not finite."""
    known = losses[~np.isnan(losses)]
    mean = float(known.mean()) if len(known) else math.nan
    return mean if math.isfinite(mean) else None
