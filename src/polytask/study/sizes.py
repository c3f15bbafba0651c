"""What architectures cost on a data set, without training them: parameters and arithmetic.

Every architecture is built as a study would build it, and one training step is counted:
forward, losses of all tasks, terms of the architecture's own, and their one backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from polytask.errors import UserError, foreign
from polytask.study import setup
from polytask.study.settings import Choice
from polytask.study.unit import Prepared, build, prepare
from polytask.training._forward import Forward
from polytask.training._precision import Precision

if TYPE_CHECKING:
    from polytask.data import Dataset

BASIS = "hard_sharing"
ROWS = 32
"""Rows of the step that is counted: enough for normalisation over the batch."""
COUNTED = "multiplications and additions of matrix products, convolutions and attention"


def sizes(
    dataset: Dataset, names: Iterable[str], encoder: Choice | None = None
) -> dict[str, dict[str, Any]]:
    """Parameters and the arithmetic of a training step of architectures, by name.

    Each is `{"parameters", "flops", "parameters_ratio", "flops_ratio", "error"}`: trainable and
    other parameters; floating-point operations of a step an item, of which `COUNTED` are seen;
    both as multiples of hard sharing's; and why the architecture cannot be built or run on this
    data set with this encoder, the numbers then being None. Seed 0 draws the weights and the
    rows. Raises `UserError` when hard sharing itself cannot be built: the encoder does not fit.
    """
    config = {
        "encoder": setup.describe_encoder(encoder, dataset).to_dict(),
        "tasks": list(dataset.tasks),
        "seed": 0,
        "split": "random",
        "test_fraction": 0.15,
        "val_fraction": 0.15,
    }
    prepared = prepare(config, dataset).labelled(ROWS)
    basis = _size(config, prepared, BASIS)
    found = {}
    for name in names:
        try:
            found[name] = _beside(_size(config, prepared, name), basis)
        except UserError as error:
            found[name] = _beside({"parameters": None, "flops": None}, basis)
            found[name]["error"] = str(error)
    return found


def _size(config: Mapping[str, Any], prepared: Prepared, name: str) -> dict[str, Any]:
    """The numbers of one architecture. Raises `UserError` when it does not fit."""
    chosen = {"architecture": {"name": name, "arguments": {}}}
    inputs, targets = prepared.parts["train"]
    with (
        foreign(lambda what: f"{name} raised {what}"),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(0)
        model = build({**config, **chosen}, prepared).train()
        forward = Forward(model, prepared.tasks, Precision("no", torch.device("cpu")))
        with FlopCounterMode(display=False) as counter:
            losses = forward.losses(forward(inputs)[0], targets)
            terms = [
                *losses.values.values(),
                *([losses.penalty] if losses.penalty is not None else []),
            ]
            torch.stack(terms).sum().backward()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "flops": counter.get_total_flops() / losses.rows}


def _beside(size: dict[str, Any], basis: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers with their multiples of hard sharing's."""
    ratios = {
        f"{word}_ratio": None if size[word] is None or not basis[word] else size[word] / basis[word]
        for word in ("parameters", "flops")
    }
    return {**size, **ratios, "error": None}
