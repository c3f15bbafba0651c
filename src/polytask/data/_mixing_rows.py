"""Data sets that can be read by row: a new random order each pass.

The order is a function of the seed, the name of the data set and the pass, so that batch n is known
without the ones before it.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.data._digest import digest
from polytask.data._mixing_join import Pair, missing
from polytask.data._mixing_source import Source, Walk, collated, known_content
from polytask.errors import UserError, foreign, some

STREAM = 2
"""Keeps the numbers drawn here apart from others of the same seed."""


class Rows(Source):
    """A data set that gives any rows it is asked for."""

    def __init__(self, name: str, tasks: tuple[str, ...], rows: int, walk: Walk) -> None:
        super().__init__(name, tasks, walk)
        if rows == 0:
            raise self.empty()
        self.rows = rows
        whole, rest = divmod(rows, self.size)
        self.batches = whole + (1 if rest and not walk.drop_last else 0)
        if self.batches == 0:
            raise UserError(
                f"drop_last leaves no batch of {name!r}: {rows} rows are fewer than "
                f"batch_size={self.size}. Use a smaller batch_size for it."
            )
        self._pass = -1
        self._order = np.arange(rows)

    @abstractmethod
    def take(self, rows: np.ndarray) -> Pair:
        """These rows, int64 [n], in that order."""

    def batch(self, number: int) -> Pair:
        """Every row once a pass, in an order of the pass; the last batch may be smaller."""
        assert self.batches is not None
        turn, place = divmod(number, self.batches)
        chosen = self._rows_of(turn)[place * self.size : (place + 1) * self.size]
        mine = chosen[self.walk.rank :: self.walk.world]
        if len(mine):
            return self.take(mine)
        # Fewer rows than processes: all must take the step, so these have a row without labels.
        inputs, targets = self.take(chosen[:1])
        return inputs, {task: missing(target, 1) for task, target in targets.items()}

    def in_order(self) -> Iterator[Pair]:
        """Every row once, as they are stored."""
        assert self.rows is not None
        for low in range(0, self.rows, self.size):
            yield self.take(np.arange(low, min(low + self.size, self.rows)))

    def _rows_of(self, turn: int) -> np.ndarray:
        if self.walk.shuffle and turn != self._pass:
            assert self.rows is not None
            key = zlib.crc32(self.name.encode())
            generator = np.random.default_rng([self.walk.seed, key, turn, STREAM])
            self._order, self._pass = generator.permutation(self.rows), turn
        return self._order


class Tensors(Rows):
    """Dictionaries of tensors whose first dimension is the row."""

    def __init__(
        self,
        name: str,
        tasks: tuple[str, ...],
        inputs: Mapping[str, Any],
        targets: Mapping[str, Any],
        walk: Walk,
    ) -> None:
        self.inputs = {key: torch.as_tensor(value) for key, value in inputs.items()}
        absent = [task for task in tasks if task not in targets]
        if absent:
            raise UserError(
                f"the data set of {name!r} has no target {some(map(repr, absent))}; found "
                f"{some(targets) or 'none'}. Name targets as the tasks."
            )
        self.kept = {task: torch.as_tensor(targets[task]) for task in tasks}
        lengths = {key: len(value) for key, value in {**self.inputs, **self.kept}.items()}
        if len(set(lengths.values())) > 1:
            raise UserError(
                f"the data set of {name!r}: expected the same number of rows everywhere, found "
                f"{lengths}. Keep inputs and targets of the same rows."
            )
        if not self.inputs:
            raise UserError(f"the data set of {name!r} has no inputs; expected at least one.")
        super().__init__(name, tasks, next(iter(lengths.values())), walk)

    def take(self, rows: np.ndarray) -> Pair:
        """A copy of these rows."""
        places = torch.from_numpy(rows)
        inputs = {key: value[places] for key, value in self.inputs.items()}
        return inputs, {task: value[places] for task, value in self.kept.items()}

    def targets(self, most: int) -> dict[str, Tensor]:
        """As they are."""
        return dict(self.kept)

    def fingerprint(self) -> str:
        """Of every value."""
        inputs = {f"input {key}": value for key, value in self.inputs.items()}
        return digest(inputs | {f"target {task}": value for task, value in self.kept.items()})


class Items(Rows):
    """A map-style data set: `dataset[i]` is one row, which `collate` puts into batches."""

    def __init__(self, name: str, tasks: tuple[str, ...], dataset: Any, walk: Walk) -> None:
        self.dataset = dataset
        super().__init__(name, tasks, len(dataset), walk)

    def take(self, rows: np.ndarray) -> Pair:
        """Row by row, then collated."""
        return self.pair(collated(self, [self.dataset[int(row)] for row in rows]))

    def fingerprint(self) -> str:
        """Of the tensors of a `TensorDataset`, or what the data set says; else type and length."""
        return known_content(self.dataset)


class Columns(Rows):
    """A Hugging Face `datasets.Dataset`: rows by number come as a mapping of columns.

    Columns named as the tasks are targets, all others inputs. Lists of numbers of one length become
    tensors; anything else (texts, token ids of unequal lengths) needs `collate_fn`, which gets a
    list of rows as transformers' data collators do.
    """

    def __init__(self, name: str, tasks: tuple[str, ...], dataset: Any, walk: Walk) -> None:
        self.dataset = dataset
        columns = list(dataset.column_names)
        absent = [task for task in tasks if task not in columns]
        if absent and walk.collate is None:
            raise UserError(
                f"the data set of {name!r} has no column {some(map(repr, absent))}; found "
                f"{some(columns)}. Rename the column as the task (dataset.rename_column)."
            )
        super().__init__(name, tasks, len(dataset), walk)

    def take(self, rows: np.ndarray) -> Pair:
        """The columns of these rows, or their rows collated."""
        columns: Mapping[str, Any] = self.dataset[rows.tolist()]
        if self.walk.collate is not None:
            listed = [{key: columns[key][i] for key in columns} for i in range(len(rows))]
            return self.pair(collated(self, listed))
        return self.pair({key: self._tensor(key, values) for key, values in columns.items()})

    def fingerprint(self) -> str:
        """The one that the library keeps, which follows every change."""
        kept = getattr(self.dataset, "_fingerprint", None)
        return str(kept) if kept else known_content(self.dataset)

    def _tensor(self, column: str, values: Any) -> Tensor:
        def explain(what: str) -> str:
            return (
                f"the column {column!r} of the data set of {self.name!r} cannot become a tensor: "
                f"{what}. Tokenise or pad it (collate_fn), or remove the column."
            )

        with foreign(explain):
            return values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
