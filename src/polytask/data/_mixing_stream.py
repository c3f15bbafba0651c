"""Data sets that can only be read in their own order, again and again."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from polytask.data._mixing_join import Pair, missing, shared_out
from polytask.data._mixing_source import Source, Walk, collated, known_content, length
from polytask.errors import UserError


class Stream(Source):
    """A data set that is read in its own order: rows, or batches of a `DataLoader`.

    It begins again when it ends. Its random numbers (torch's) are its own, the same in every
    process and after a resume, which reads on from the beginning to where it was.
    """

    peekable = False

    def __init__(self, name: str, tasks: tuple[str, ...], dataset: Any, walk: Walk) -> None:
        super().__init__(name, tasks, walk)
        self.dataset = dataset
        self._ready = isinstance(dataset, DataLoader)
        """Whether it gives batches; else rows."""
        if iter(dataset) is dataset:
            raise UserError(
                f"the data set of {name!r} is an iterator, which is empty after one pass. Give "
                "something that can be iterated again."
            )
        if self._ready and walk.batch_size not in (None, getattr(dataset, "batch_size", None)):
            raise UserError(
                f"the data set of {name!r} is a DataLoader, which makes its own batches; found "
                f"batch_size={walk.batch_size} for it. Set it in the loader."
            )
        self.rows, self.batches = self._lengths()
        if self.rows == 0 or self.batches == 0:
            raise self.empty()
        self._next = 0
        self._turn = -1
        self._open: Iterator[Pair] = iter(())
        self._random: Tensor | None = None

    def batch(self, number: int) -> Pair:
        """The next batch; another one than the next is read up to from the beginning."""
        if number != self._next:
            self._turn, self._next, self._open = -1, 0, iter(())
            while self._next < number:
                self._read()
        return self._divided(self._read())

    def in_order(self) -> Iterator[Pair]:
        """One pass of its own, beside the one under way."""
        other = Stream(self.name, self.tasks, self.dataset, self.walk)
        while (pair := other._read(again=False)) is not None:
            yield pair

    def fingerprint(self) -> str:
        """What the data set says of itself; else its type and length."""
        inner = self.dataset.dataset if self._ready else self.dataset
        return known_content(inner)

    def _read(self, again: bool = True) -> Any:
        """The next batch, undivided; None at the end of a pass unless it begins again."""
        with self._own_random():
            pair = next(self._open, None)
            if pair is None and (again or self._turn < 0):
                self._begin()
                pair = next(self._open, None)
                if pair is None:
                    raise self.empty()
        self._next += 1
        return pair

    def _begin(self) -> None:
        self._turn += 1
        key = zlib.crc32(self.name.encode())
        seed = int(np.random.default_rng([self.walk.seed, key, self._turn]).integers(2**62))
        torch.manual_seed(seed)
        generator = getattr(self.dataset, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(self._turn)
        self._open = self._batches()

    def _batches(self) -> Iterator[Pair]:
        if self._ready:
            yield from map(self.pair, self.dataset)
            return
        waiting: list[Any] = []
        for row in self.dataset:
            waiting.append(row)
            if len(waiting) == self.size:
                yield self.pair(collated(self, waiting))
                waiting = []
        if waiting and not self.walk.drop_last:
            yield self.pair(collated(self, waiting))

    def _divided(self, pair: Pair) -> Pair:
        rank, world = self.walk.rank, self.walk.world
        if world == 1:
            return pair
        mine: Pair = shared_out(pair, rank, world)
        if all(len(target) for target in mine[1].values()):
            return mine
        inputs, targets = shared_out(pair, 0, max(map(len, pair[1].values())))
        return inputs, {task: missing(target, len(target)) for task, target in targets.items()}

    def _lengths(self) -> tuple[int | None, int | None]:
        """Rows and batches, where the data set tells."""
        inner = self.dataset.dataset if self._ready else self.dataset
        rows = length(inner)
        if self._ready:
            return rows, length(self.dataset)
        if rows is None:
            return None, None
        return rows, rows // self.size if self.walk.drop_last else -(-rows // self.size)

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        outside = torch.get_rng_state()
        if self._random is not None:
            torch.set_rng_state(self._random)
        try:
            yield
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(outside)
