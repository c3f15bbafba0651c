"""Losses of groups of tasks predicted from those of pairs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.errors import UserError, some, unknown

Array = NDArray[np.float64]


class GroupLosses(Mapping[tuple[str, ...], dict[str, float]]):
    """Predicted losses of all groups, computed when asked for: `losses["a", "b", "c"]["a"]`.

    Keys are tuples of names, in any order; iterating gives each group once, small ones first, in
    the order of the tasks (there are 2^T of them). A task is missing from a group's losses where
    one of its pairs in it is unknown, and so is a group without any known loss.
    """

    def __init__(self, tasks: tuple[str, ...], pairs: Array, alone: Array) -> None:
        self.tasks = tasks
        self.pairs = pairs
        """[T, T]: the loss of the first task when trained with the second; NaN if unknown."""
        self.alone = alone
        """[T]: the loss of a task trained alone; NaN if unknown."""

    def __getitem__(self, group: tuple[str, ...]) -> dict[str, float]:
        places = self._places(group)
        found = {}
        for i in places:
            others = [j for j in places if j != i]
            loss = self.pairs[i, others].mean() if others else self.alone[i]
            if math.isfinite(loss):
                found[self.tasks[i]] = float(loss)
        if not found:
            raise KeyError(group)
        return found

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        for size in range(1, len(self.tasks) + 1):
            for group in itertools.combinations(self.tasks, size):
                if group in self:
                    yield group

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _places(self, group: tuple[str, ...]) -> list[int]:
        if not isinstance(group, tuple) or not group or len(set(group)) < len(group):
            raise KeyError(group)
        if not set(group) <= set(self.tasks):
            raise KeyError(group)
        return sorted(self.tasks.index(task) for task in group)


def predict_group_losses(pairs: Mapping[tuple[str, ...], Mapping[str, float]]) -> GroupLosses:
    """Losses of all groups from those of pairs: the higher-order approximation (HOA).

    Standley et al. 2020, "Which tasks should be learned together in multi-task learning?", arXiv
    1905.07553, section 6.2: in a group of three or more a task's loss is the mean of its losses
    in the pairs that it forms with the others of the group. Pairs, and tasks alone, keep the losses
    that were measured.

    Args:
        pairs: `{("a", "b"): {"a": loss, "b": loss}, ("a",): {"a": loss}, ...}`, names in any order;
            groups of one may be left out and then are no choice. NaN or absent is unknown.

    Returns:
        A mapping of the same form with all groups, for `choose_groups`.

    Raises:
        UserError: a group of more than two tasks, or what `choose_groups` refuses.
    """
    read = read_losses(pairs, "pairs")
    tasks = tuple(dict.fromkeys(itertools.chain.from_iterable(read)))
    table = np.full((len(tasks), len(tasks)), np.nan)
    alone = np.full(len(tasks), np.nan)
    for group, losses in read.items():
        if len(group) > 2:
            raise UserError(
                f"pairs: expected groups of one or two tasks, found {group}. Losses of larger "
                "groups go to choose_groups as they are."
            )
        for task, loss in losses.items():
            place = tasks.index(task)
            if len(group) == 1:
                alone[place] = loss
            else:
                table[place, tasks.index(group[group[0] == task])] = loss
    return GroupLosses(tasks, table, alone)


def read_losses(given: Any, what: str) -> dict[tuple[str, ...], dict[str, float]]:
    """Losses by group as given, known ones only. Raises `UserError` for what is no such table."""
    if not isinstance(given, Mapping) or not given:
        raise UserError(
            f"{what}: expected a mapping such as {{('a', 'b'): {{'a': 0.1, 'b': 0.2}}}}, found "
            f"{'an empty one' if isinstance(given, Mapping) else type(given).__name__}."
        )
    found: dict[tuple[str, ...], dict[str, float]] = {}
    seen: set[frozenset[str]] = set()
    for group, losses in given.items():
        named = group_names(group, what)
        if frozenset(named) in seen:
            raise UserError(f"{what}: each group may be there once, found {some(named)} again.")
        seen.add(frozenset(named))
        if not isinstance(losses, Mapping):
            raise UserError(
                f"{what} of {named}: expected a mapping from tasks to losses, found {losses!r}."
            )
        found[named] = {}
        for task, loss in losses.items():
            if task not in named:
                raise unknown(f"task in the {what} of {named}:", task, named)
            value = _loss(loss, f"{what} of {named}: {task!r}")
            if not math.isnan(value):
                found[named][task] = value
    return found


def group_names(group: object, what: str) -> tuple[str, ...]:
    """The names of a group. Raises `UserError` unless it is a tuple of different names."""
    if isinstance(group, str) or not isinstance(group, Iterable):
        raise UserError(f"{what}: expected groups as tuples of names, found {group!r}.")
    names = tuple(group)
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{what}: expected groups as tuples of names, found {group!r}.")
    if len(set(names)) < len(names):
        raise UserError(f"{what}: a group names each task once, found {group!r}.")
    return names


def _loss(given: object, where: str) -> float:
    try:
        value = math.nan if given is None else float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.inf
    if math.isinf(value):
        raise UserError(f"{where}: expected a finite loss, or NaN where unknown; found {given!r}.")
    return value
