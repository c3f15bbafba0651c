"""Networks that other runs of the study have trained, as a later run reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from polytask.data import Dataset
from polytask.errors import UserError
from polytask.study.folder import read_json
from polytask.study.unit import EncoderMaker, Prepared, build, prepare
from polytask.training._weights import put
from polytask.training.run_folder import RunFolder


@dataclass(frozen=True)
class Trained:
    """A network with the weights that its training chose, and the data as it was trained on."""

    model: nn.Module
    prepared: Prepared


def trained(
    network: Mapping[str, str],
    dataset: Dataset,
    folder: Path,
    make_encoder: EncoderMaker | None = None,
) -> Trained:
    """The network of another run, `{"id", "hash"}`, whose folder lies beside the run's own.

    Built as its own run built it, so the split and the preprocessing are those of its training.

    Raises `UserError` when the folder does not hold that network, whole.
    """
    home = folder.parent / network["id"]
    unit = read_json(home / "unit.json")
    if unit is None or unit.get("hash") != network["hash"]:
        found = "nothing" if unit is None else f"another ({unit.get('hash')})"
        raise UserError(
            f"expected the training {network['hash']} in {home}, found {found}. Run the study "
            "again: it repeats what is missing."
        )
    prepared = prepare(unit["config"], dataset)
    model = build(unit["config"], prepared, make_encoder)
    put(model, RunFolder(home).load("best"), home)
    return Trained(model, prepared)
