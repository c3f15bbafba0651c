"""One step of a network before anything is trained, to find what cannot be."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from polytask.study.plan import Unit

if TYPE_CHECKING:
    from polytask.data import Dataset
    from polytask.study.unit import EncoderMaker


def try_out(
    probe: Unit,
    dataset: Dataset,
    make_encoder: EncoderMaker | None,
    select: str,
    ended: Collection[str],
) -> None:
    """Build the network of a cost probe and train it for one step. Raises `UserError`.

    One whose cost has been measured (its hash is in `ended`) is known to work.
    """
    from polytask.study.unit import build, make_trainer, prepare, rehearse

    if probe.hash in ended:
        return
    prepared = prepare(probe.config, dataset)
    model = build(probe.config, prepared, make_encoder)
    make_trainer(probe.config, prepared, model, select=select)
    rehearse(probe.config, prepared, model)
