"""Every row of several data sets once, to validate and test on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from polytask.data._mixing_join import Pair, concatenated
from polytask.data._mixing_settings import build_sources
from polytask.data._mixing_source import Collate
from polytask.errors import UserError


class InTurn:
    """Every row of every data set once, one data set after another: to validate and test on.

    Iterates `(inputs, targets)` of one data set at a time, in the order in which rows are stored.

    Args:
        sources: data sets by task or tuple of tasks, of the kinds that `Mixture` takes but tables;
            those that were prepared with `Tables.read`.
        batch_size: rows a batch, one number or by name; as of `Mixture` by default.
        collate_fn: makes a batch of a list of rows, one function or by name.

    Raises:
        UserError: data sets or numbers that cannot be; an empty data set.
    """

    def __init__(
        self,
        sources: Mapping[Any, Any],
        batch_size: int | Mapping[str, int] | None = None,
        collate_fn: Collate | Mapping[str, Collate] | None = None,
    ) -> None:
        self.sources, tables = build_sources(
            sources, batch_size, collate_fn, None, {"shuffle": False}
        )
        if tables is not None:
            raise UserError(
                "tables must be prepared as those of the training were: pass what "
                "mixture.tables.read({...}) gives."
            )

    @property
    def targets(self) -> dict[str, Tensor]:
        """The targets of all rows by task, which may take a pass over the data."""
        parts: dict[str, list[Tensor]] = {}
        for source in self.sources.values():
            for task, target in source.targets(2**62).items():
                parts.setdefault(task, []).append(target)
        return {task: concatenated(task, part) for task, part in parts.items()}

    def __iter__(self) -> Iterator[Pair]:
        for source in self.sources.values():
            yield from source.in_order()

    def peek(self) -> list[Pair]:
        """The first rows of every data set that can be read by number."""
        return [next(source.in_order()) for source in self.sources.values() if source.peekable]

    def fingerprints(self) -> dict[str, str]:
        """A hash of each data set's content, by name; reads every tensor once."""
        return {name: source.fingerprint() for name, source in self.sources.items()}

    def how(self) -> str:
        """How they are cut into batches."""
        return json.dumps({name: source.size for name, source in self.sources.items()})

    def fingerprint(self) -> str:
        """A hash of the data, and of how they are cut."""
        return json.dumps(self.fingerprints(), sort_keys=True) + self.how()
