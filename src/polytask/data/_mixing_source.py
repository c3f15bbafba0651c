"""What a data set of a mixture is: batch number n since the start, whatever is behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset, default_collate

from polytask.data._digest import digest
from polytask.data._mixing_join import Pair
from polytask.errors import UserError, foreign, some

BATCH_SIZE = 256

Collate = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Walk:
    """How data sets are walked: the same for all of a mixture, but for the batch size."""

    batch_size: int | None = None
    collate: Collate | None = None
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0
    rank: int = 0
    world: int = 1


class Source(ABC):
    """A data set with the tasks that it has labels of."""

    def __init__(self, name: str, tasks: tuple[str, ...], walk: Walk) -> None:
        self.name = name
        self.tasks = tasks
        self.walk = walk
        self.size = walk.batch_size or BATCH_SIZE

    peekable = True
    """Whether a look at the first rows disturbs nothing."""
    rows: int | None = None
    """Rows of a pass; None where nobody knows."""
    batches: int | None = None
    """Batches of a pass; None where nobody knows."""

    @abstractmethod
    def batch(self, number: int) -> Pair:
        """Batch `number`, counted from 0 through all passes; this process's rows of it."""

    @abstractmethod
    def in_order(self) -> Iterator[Pair]:
        """Every row once, as they come, undivided; nothing else is moved by it."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the data as far as they are known."""

    def targets(self, most: int) -> dict[str, Tensor]:
        """The targets of all rows, or of the first `most` batches where their end is unknown."""
        parts: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        for number, (_, targets) in enumerate(self.in_order()):
            if self.batches is None and number >= most:
                break
            for task in self.tasks:
                parts[task].append(targets[task])
        return {task: torch.cat(part) for task, part in parts.items()}

    def pair(self, batch: Any) -> Pair:
        """A collated batch as inputs and targets. Raises `UserError` when it holds neither."""
        if isinstance(batch, list | tuple) and len(batch) == 2:
            inputs, targets = batch
            if isinstance(targets, Tensor) and len(self.tasks) == 1:
                targets = {self.tasks[0]: targets}
        elif isinstance(batch, Mapping):
            inputs = {name: value for name, value in batch.items() if name not in self.tasks}
            targets = {name: value for name, value in batch.items() if name in self.tasks}
        else:
            raise UserError(
                f"the data set of {self.name!r} gives batches of type {type(batch).__name__}; "
                "expected pairs (inputs, targets), or mappings with the targets under their names. "
                "Convert them in collate_fn."
            )
        if not isinstance(targets, Mapping) or any(task not in targets for task in self.tasks):
            found = some(targets) if isinstance(targets, Mapping) else f"a {type(targets).__name__}"
            raise UserError(
                f"the data set of {self.name!r} must give targets named {some(self.tasks)}; found "
                f"{found or 'none'}. Name them as the tasks, or mix the data set under other names."
            )
        for task in self.tasks:
            if not isinstance(targets[task], Tensor):
                raise UserError(
                    f"the data set of {self.name!r}: the targets of {task!r} are of type "
                    f"{type(targets[task]).__name__}; expected a tensor. Convert them in "
                    "collate_fn."
                )
        return inputs, {task: targets[task] for task in self.tasks}

    def empty(self) -> UserError:
        """The error for a data set without a row."""
        return UserError(
            f"the data set of {self.name!r} is empty; expected at least one row. Leave the task "
            "out of the mixture, or look at how its rows were chosen."
        )


def collated(source: Source, rows: list[Any]) -> Any:
    """Rows as a batch, by the data set's own function or torch's."""
    collate = source.walk.collate or default_collate

    def explain(what: str) -> str:
        return (
            f"rows of the data set of {source.name!r} cannot be put into a batch: {what}. Pass a "
            "collate_fn for it, which makes (inputs, targets) of a list of rows."
        )

    with foreign(explain):
        return collate(rows)


def length(data: Any) -> int | None:
    """How long something is; None where it does not tell."""
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def known_content(dataset: Any) -> str:
    """A hash of a data set's content where it can be had without reading all of it."""
    own = getattr(dataset, "fingerprint", None)
    if callable(own):
        return str(own())
    if isinstance(dataset, TensorDataset):
        return digest({str(i): tensor for i, tensor in enumerate(dataset.tensors)})
    return f"{type(dataset).__qualname__} of {length(dataset)} rows"
