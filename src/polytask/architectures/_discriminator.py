"""A discriminator behind a gradient reversal, and the input that says what it should find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from polytask.architectures._reversal import scaled_gradient
from polytask.errors import UserError


class Discriminator(nn.Linear):
    """Tells from features [N, width] which of `sets` sets an item comes from; never an output."""

    def __init__(self, width: int, sets: int) -> None:
        super().__init__(width, sets)

    def loss(self, s: Tensor, sets: Tensor | None) -> Tensor:
        """Its cross-entropy, which it lowers and what made `s` raises.

        Raises `UserError` when `sets` does not name a set of every row, int64 [N].
        """
        count = self.out_features
        wanted = (
            f"expected the set of each of {len(s)} rows, int64 [{len(s)}] from 0 to {count - 1}"
        )
        if sets is None:
            raise UserError(f"{wanted}, found none in the batch. Give it, or leave origin out.")
        if sets.shape != (len(s),) or sets.dtype != torch.int64:
            raise UserError(
                f"{wanted}; found shape {tuple(sets.shape)} of type {sets.dtype}. Give one whole "
                "number a row."
            )
        if bool(((sets < 0) | (sets >= count)).any()):
            raise UserError(
                f"{wanted}; found {int(sets.min())} to {int(sets.max())}. Number the sets from 0, "
                "or pass origins=."
            )
        return cross_entropy(linear(scaled_gradient(s, -1.0), self.weight, self.bias), sets)


def take_origin(x: Any, name: str | None) -> tuple[Any, Tensor | None]:
    """A batch without the entry `name`, and that entry; None where it is not there."""
    if name is None or not isinstance(x, Mapping) or name not in x:
        return x, None
    return {word: value for word, value in x.items() if word != name}, x[name]
