"""What recipes read: a named target or input column, and all inputs as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask.auxiliary._base import column_names
from polytask.data import Dataset
from polytask.data._arrays import MISSING_CODE
from polytask.errors import UserError, some, unknown
from polytask.tasks import Task


@dataclass(frozen=True)
class Source:
    """One value a row, from a target or from an input column."""

    name: str
    values: np.ndarray
    """float32 [N] with NaN missing, or int64 codes [N] with -100 missing."""
    classes: tuple[Any, ...] = ()
    """Labels by code; () for numbers."""
    column: tuple[str, int] | None = None
    """Its input and its number in it; None for a target."""

    def task(self, name: str, reverse: float = 0.0) -> Task:
        """A helper task that predicts it."""
        if self.classes:
            return Task(name, "multiclass", role="auxiliary", classes=self.classes, reverse=reverse)
        return Task(name, "regression", role="auxiliary", reverse=reverse)


def source(dataset: Dataset, name: str, who: str) -> Source:
    """The target or input column called `name`. Raises `UserError` when there is none.

    Targets come first, those with one number or class a row; then `numeric` and `categorical`.
    """
    found = _target(dataset, name)
    if found is not None:
        return found
    for kind in ("numeric", "categorical"):
        names = column_names(dataset, kind)
        if name in names:
            return _column(dataset, kind, names.index(name), name)
    raise unknown(f"target or column for {who}:", name, readable(dataset))


def readable(dataset: Dataset) -> list[str]:
    """Names that `source` knows."""
    columns = [n for kind in ("numeric", "categorical") for n in column_names(dataset, kind)]
    return [*(name for name in dataset.tasks if _target(dataset, name)), *columns]


def _target(dataset: Dataset, name: str) -> Source | None:
    """A target with one number or class a row; None when there is none."""
    task = dataset.tasks.get(name)
    if task is None or dataset.targets[name].ndim > 1:
        return None
    if task.kind not in ("regression", "binary", "multiclass"):
        return None
    return Source(name, dataset.targets[name], task.classes)


def _column(dataset: Dataset, kind: str, place: int, name: str) -> Source:
    """An input column; numbers that are not finite are missing."""
    values = dataset.inputs[kind][:, place]
    if kind == "numeric":
        return Source(name, known_numbers(values), (), (kind, place))
    levels = dataset.columns.get("categories", {}).get(name)
    classes = tuple(levels) if levels else tuple(range(max(int(values.max(initial=0)) + 1, 2)))
    codes = np.where(values < 0, MISSING_CODE, values).astype(np.int64)
    return Source(name, codes, classes, (kind, place))


def known_numbers(values: np.ndarray) -> np.ndarray:
    """float32, with NaN for what is missing or infinite."""
    known: np.ndarray = np.where(np.isfinite(values), values, np.nan).astype(np.float32)
    return known


def input_name(dataset: Dataset, who: str) -> str:
    """`image` or `numeric`: the input that can be predicted as numbers; else `UserError`."""
    for name in ("image", "numeric"):
        if name in dataset.inputs:
            return name
    raise UserError(
        f"{who}: expected images or numeric columns to predict, found the inputs "
        f"{some(sorted(dataset.inputs), 80)}. For categories use predicting_inputs."
    )


def input_task(
    dataset: Dataset, columns: Sequence[str] | None, name: str, loss: str, who: str
) -> Task:
    """The task of predicting images at every place, or these numeric columns (None: all)."""
    found = input_name(dataset, who)
    if found == "image":
        if columns is not None:
            raise UserError(f"{who}: columns= is for tables, and the input here is an image.")
        size = dataset.inputs["image"].shape[1]
    else:
        size = len(_places(dataset, columns, who))
    return Task(name, "regression", role="auxiliary", size=size, loss_function=loss)


def input_target(
    dataset: Dataset, columns: Sequence[str] | None, train: np.ndarray, who: str
) -> np.ndarray:
    """Its target of all rows: [N, C, H, W], or [N, d] ([N] of one column).

    Raises `UserError` for a column without two different values among the training rows.
    """
    if input_name(dataset, who) == "image":
        return known_numbers(dataset.inputs["image"])
    places = _places(dataset, columns, who)
    values = known_numbers(dataset.inputs["numeric"][:, places])
    names = column_names(dataset, "numeric")
    flat = [
        names[place]
        for place, column in zip(places, values[train].T, strict=True)
        if len(np.unique(column[~np.isnan(column)])) < 2
    ]
    if flat:
        raise UserError(
            f"{who}: {some(map(repr, flat), 80)} has no two different values among the training "
            "rows, so there is nothing to learn. Name the columns to predict without it, "
            "columns=[...]."
        )
    return values[:, 0] if len(places) == 1 else values


def _places(dataset: Dataset, columns: Sequence[str] | None, who: str) -> list[int]:
    """Numbers of the numeric columns asked for."""
    names = column_names(dataset, "numeric")
    wanted = names if columns is None else listed(columns, "columns", who)
    for name in wanted:
        if name not in names:
            raise unknown(f"numeric column for {who}:", name, names)
    return [names.index(name) for name in wanted]


def listed(names: Iterable[str], word: str, who: str) -> list[str]:
    """Names without repeats, at least one; a text alone is an error, not its letters."""
    if isinstance(names, str) or not list(names):
        raise UserError(f"{who}: {word} should be a list such as [age, income], found {names!r}.")
    return list(dict.fromkeys(map(str, names)))
