"""Validation batches one after another, without end, for methods that learn from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch

from polytask.errors import UserError
from polytask.training._forward import Batch, batches_on


class HeldOut:
    """An iterator that begins again at the end. `drawn` counts the batches of this pass."""

    def __init__(self, batches: Iterable[Any], device: torch.device) -> None:
        self.batches = batches
        self.device = device
        self.drawn = 0
        self._pass: Iterator[Batch] = iter(())

    def __iter__(self) -> HeldOut:
        return self

    def __next__(self) -> Batch:
        batch = next(self._pass, None)
        if batch is None:
            self.skip(0)
            batch = next(self._pass, None)
        if batch is None:
            raise UserError("there are no validation batches; a method learns from them.")
        self.drawn += 1
        return batch

    def skip(self, count: int) -> None:
        """Begin a pass after its first `count` batches."""
        self._pass = batches_on(islice(iter(self.batches), count, None), self.device)
        self.drawn = count
