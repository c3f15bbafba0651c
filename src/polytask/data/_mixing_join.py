"""Batches of several data sets as one batch, where their inputs agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError

MISSING = -100
"""The code of a missing class; NaN is what is missing among floats."""

Pair = tuple[Any, Mapping[str, Tensor]]
"""Inputs, and targets by task."""


class Parts(tuple[Pair, ...]):
    """The batches of one step whose inputs cannot be put together: pairs (inputs, targets).

    The Trainer runs the model on each and balances the losses of all of them in one step.
    """

    __slots__ = ()


def joined(pairs: Sequence[Pair]) -> Pair | Parts:
    """One batch of all rows, or `Parts` where inputs differ in names, types or shapes of a row.

    In one batch a task of some rows only has the other rows marked as missing: NaN among floats
    (and in place of booleans), -100 among whole numbers. Raises `UserError` for targets of one
    task that differ in shape.
    """
    if len(pairs) == 1:
        return pairs[0]
    inputs = [pair[0] for pair in pairs]
    if not all(_agree(inputs[0], other) for other in inputs[1:]):
        return Parts(pairs)
    rows = [count_rows(one) for one in inputs]
    examples: dict[str, Tensor] = {}
    for _, targets in pairs:
        for task, target in targets.items():
            known = examples.setdefault(task, target)
            if known.shape[1:] != target.shape[1:]:
                raise UserError(
                    f"the targets of task {task!r} have rows of shape {list(known.shape[1:])} in "
                    f"one data set and {list(target.shape[1:])} in another; expected one shape."
                )
    whole: dict[str, Tensor] = {}
    for task, example in examples.items():
        found = [targets.get(task) for _, targets in pairs]
        if any(target is None for target in found) and example.dtype == torch.bool:
            example = example.float()
        filled = [
            missing(example, count) if target is None else target.to(example.dtype)
            for target, count in zip(found, rows, strict=True)
        ]
        whole[task] = torch.cat(filled)
    return _together(inputs), whole


def missing(example: Tensor, rows: int) -> Tensor:
    """A target of so many rows without a label, shaped as `example`."""
    if example.dtype == torch.bool:
        example = example.float()
    mark = torch.nan if example.is_floating_point() else MISSING
    return example.new_full((rows, *example.shape[1:]), mark)


def count_rows(inputs: Any) -> int:
    """Rows of a batch of inputs, by the first tensor in it."""
    if isinstance(inputs, Tensor):
        return len(inputs)
    assert isinstance(inputs, Mapping)
    return count_rows(next(iter(inputs.values())))


def shared_out(batch: Any, rank: int, world: int) -> Any:
    """Every `world`-th row of a collated batch, from row `rank` on."""
    if isinstance(batch, Tensor) and batch.dim():
        return batch[rank::world]
    if isinstance(batch, Mapping):
        return {name: shared_out(value, rank, world) for name, value in batch.items()}
    if isinstance(batch, list | tuple) and not hasattr(batch, "_fields"):
        return type(batch)(shared_out(value, rank, world) for value in batch)
    return batch


def _agree(one: Any, other: Any) -> bool:
    """Whether two batches of inputs can be put together row by row."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        row, other_row = one.shape[1:], other.shape[1:]
        return one.dim() > 0 and one.dtype == other.dtype and row == other_row
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return (
            bool(one) and one.keys() == other.keys() and all(_agree(one[k], other[k]) for k in one)
        )
    return False


def _together(inputs: Sequence[Any]) -> Any:
    if isinstance(inputs[0], Tensor):
        return torch.cat(list(inputs))
    return {name: _together([one[name] for one in inputs]) for name in inputs[0]}


def concatenated(task: str, parts: Sequence[Tensor]) -> Tensor:
    """Targets of one task from several data sets. Raises `UserError` where shapes differ."""
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise UserError(
            f"the targets of task {task!r} have rows of different shapes in different data sets "
            f"({', '.join(map(str, sorted(shapes)))}); expected one shape."
        )
    return torch.cat(list(parts))
