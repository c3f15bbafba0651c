"""Batches of tensors that fit in memory: indexed, not collated, in a repeatable order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from polytask.data._digest import digest
from polytask.errors import UserError


class Batches:
    """Iterates `(inputs, targets)` dictionaries of tensors, a batch of rows at a time.

    The order is a function of (seed, epoch) alone. A finished pass moves on to the next epoch,
    so a plain loop sees a new order each time; `set_epoch` overrides that. With `shuffle=False`
    batches are views and cost no copy.

    Args:
        inputs: tensors whose first dimension is the row.
        targets: the same, by task name.
        batch_size: rows per batch; the last may be smaller.
        shuffle: draw a new order each epoch.
        seed: of the order.
        drop_last: leave out a smaller last batch (for batch normalisation).

    Raises:
        UserError: no rows, row counts that differ, a batch size below 1, or no batch left.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        batch_size: int = 256,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.inputs = dict(inputs)
        self.targets = dict(targets)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        self.position = 0
        self._start = 0
        lengths = {k: len(v) for named in (self.inputs, self.targets) for k, v in named.items()}
        self.n = next(iter(lengths.values()), 0)
        if not self.inputs or self.n == 0:
            raise UserError(
                "found no rows to make batches of; expected at least one. Is a part of the split "
                "empty?"
            )
        if set(lengths.values()) != {self.n}:
            raise UserError(
                f"expected the same number of rows everywhere, found {lengths}. Keep inputs and "
                "targets of the same rows, with missing labels marked."
            )
        if not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(
                f"batch_size must be a whole number of at least 1, found {batch_size!r}."
            )
        if not len(self):
            raise UserError(
                f"drop_last leaves no batch: {self.n} rows are fewer than batch_size={batch_size}."
            )

    def __len__(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(self.n, self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        order = self._order()
        first, self._start = self._start, 0
        for number in range(first, len(self)):
            low = number * self.batch_size
            high = min(low + self.batch_size, self.n)
            rows = slice(low, high) if order is None else order[low:high]
            # Counted as given out before it is, so a state taken in the loop goes on after it.
            self.position = number + 1
            yield (
                {name: tensor[rows] for name, tensor in self.inputs.items()},
                {name: tensor[rows] for name, tensor in self.targets.items()},
            )
        self.epoch += 1
        self.position = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin epoch `epoch` with the next iteration."""
        self.epoch = epoch
        self.position = self._start = 0

    def state_dict(self) -> dict[str, int]:
        """Where the iteration is: seed, epoch, and batches already given out in this epoch."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on exactly after the last batch given out when `state` was taken."""
        self.seed, self.epoch = int(state["seed"]), int(state["epoch"])
        self.position = self._start = int(state["position"])

    def fingerprint(self) -> str:
        """A hash of the rows and of how they are cut; reads every tensor once."""
        rows = {f"input {name}": value for name, value in self.inputs.items()}
        rows |= {f"target {name}": value for name, value in self.targets.items()}
        how = f"{self.batch_size} {self.shuffle} {self.seed} {self.drop_last}"
        return f"{digest(rows)} {how}"

    def _order(self) -> Tensor | None:
        """int64 [n]: the rows of this epoch in order; None when they are not shuffled."""
        if not self.shuffle:
            return None
        # An own bit stream per (seed, epoch): seed 0 epoch 1 has nothing in common with seed 1.
        generator = np.random.default_rng([self.seed, self.epoch])
        return torch.from_numpy(generator.permutation(self.n))
