"""Which kind of data set of a mixture something is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import Any

from polytask.data._mixing_rows import Columns, Items, Tensors
from polytask.data._mixing_source import Source, Walk
from polytask.data._mixing_stream import Stream
from polytask.data.batches import Batches
from polytask.errors import UserError


def make_source(name: str, tasks: tuple[str, ...], given: Any, walk: Walk) -> Source:
    """The source of a data set of any supported kind. Raises `UserError` for another."""
    if isinstance(given, Batches):
        own = Walk(**{**vars(walk), "batch_size": walk.batch_size or given.batch_size})
        return Tensors(name, tasks, given.inputs, given.targets, own)
    if isinstance(given, tuple | list) and len(given) == 2:
        inputs, targets = given
        if isinstance(inputs, Mapping) and isinstance(targets, Mapping):
            return Tensors(name, tasks, inputs, targets, walk)
    by_number = hasattr(given, "__getitem__") and isinstance(given, Sized)
    if by_number and isinstance(getattr(given, "column_names", None), list):
        return Columns(name, tasks, given, walk)
    if by_number and not isinstance(given, Mapping | str):
        return Items(name, tasks, given, walk)
    if isinstance(given, Iterable) and not isinstance(given, Mapping | str):
        return Stream(name, tasks, given, walk)
    raise UserError(
        f"the data set of {name!r} is of type {type(given).__name__}; expected Batches, a pair "
        "(inputs, targets) of dictionaries of tensors, a data set with rows by number, something "
        "to iterate, a DataFrame, or the path of a table."
    )
