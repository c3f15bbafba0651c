"""A run that compares what the networks of single tasks make of the same validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask import training
from polytask.architectures import as_stages
from polytask.architectures._tree import stage_costs
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.relationships import linear_cka, rsa
from polytask.study.relations.runs._trained import trained
from polytask.study.unit import EncoderMaker
from polytask.training.representation import encoder_of

MEASURES = {"rsa": rsa, "cka": linear_cka}


def represent(
    config: Mapping[str, Any],
    dataset: Dataset,
    folder: Path,
    make_encoder: EncoderMaker | None = None,
) -> dict[str, Any]:
    """Affinities by measure ("rsa", "cka") and stage ("0" is the first); parameters by stage.

    The configuration has "networks", of every task `{"id", "hash"}`, and "rows", how many
    validation rows to draw evenly. Read on validation rows, which none of them was trained on.
    """
    features, costs = {}, []
    for task, named in config["networks"].items():
        network = trained(named, dataset, folder, make_encoder)
        rows = network.prepared.judging("val", config["batch_size"])
        features[task] = training.represent(network.model, rows, config["rows"])
        encoder = encoder_of(network.model)
        costs = [] if encoder is None else stage_costs(as_stages(encoder))
    numbers = {task: len(stages) for task, stages in features.items()}
    if len(set(numbers.values())) > 1:
        raise UserError(f"expected networks of as many stages each, found {numbers}.")
    stages = next(iter(features.values()))
    found: dict[str, Any] = {
        name: {
            str(stage): measure({task: of[stage] for task, of in features.items()}).to_dict()
            for stage in stages
        }
        for name, measure in MEASURES.items()
    }
    return {**found, "costs": costs, "rows": len(stages[0])}
