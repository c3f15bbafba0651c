"""Tables of their own for each task, prepared alike: the same columns, codes and scales."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from polytask.data._mixing_join import Pair
from polytask.data.columns import transform_frame
from polytask.data.dataset import Dataset
from polytask.data.preprocess import InputSpec, Preprocessor
from polytask.data.read import read_table
from polytask.data.table import table_dataset
from polytask.data.targets import Wanted, encode_target, parse_targets, read_target
from polytask.errors import UserError, nearest, some
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

Key = str | tuple[str, ...]
"""A task, or the tasks that a table has labels of."""


@dataclass(frozen=True)
class Tables:
    """Several tables made ready together; see `read_tables`."""

    tasks: dict[str, Task]
    """Tasks with their classes, means and deviations, as the Trainer takes them."""
    pairs: dict[Key, Pair]
    """Inputs and targets of each table, as `Mixture` takes them."""
    preprocessor: Preprocessor
    columns: dict[str, Any]
    notes: list[str]
    """What was inferred and decided, to be shown before training."""
    wanted: dict[str, Wanted]

    @property
    def spec(self) -> InputSpec:
        """What an encoder gets, as `polytask.create_encoder` takes it."""
        return self.preprocessor.spec

    def read(self, tables: Mapping[Key, Any]) -> dict[Key, Pair]:
        """Other tables (validation rows, say), prepared as these were.

        Args:
            tables: DataFrames or paths, by task or tasks; not all need be there.

        Raises:
            UserError: an unknown task, a table that lacks a column, or values that do not fit.
        """
        found: dict[Key, Pair] = {}
        for key, given in tables.items():
            frame = _frame(given)
            try:
                inputs = self.preprocessor.transform(transform_frame(frame, self.columns))
                targets = {name: self._targets(frame, name) for name in tasks_of(key)}
            except UserError as error:
                raise UserError(f"the table of {name_of(key)!r}: {error}") from error
            found[key] = (inputs, targets)
        return found

    def _targets(self, frame: pd.DataFrame, name: str) -> Tensor:
        if name not in self.tasks:
            raise UserError(f"{name!r} is none of the tasks {some(self.tasks)}.")
        names = list(frame.columns)
        wanted, task = self.wanted[name], self.tasks[name]
        if absent := [column for column in wanted.reads(names) if column not in names]:
            raise UserError(f"it lacks the target column {absent[0]!r}; found {some(names)}.")
        if wanted.reads(names) == [name]:
            return torch.from_numpy(encode_target(frame[name], task, []))
        return torch.from_numpy(read_target(frame, wanted, [])[1])


def read_tables(tables: Mapping[Key, Any], kinds: Mapping[str, str | Task] | None = None) -> Tables:
    """Tables with targets of their own and the same input columns, made ready together.

    Every column that is no task of any table is an input. How inputs are encoded, filled and
    standardised is learned on the rows of all tables, so one network reads them all; classes and
    scales of a target on the rows of its tables. A target column of another table's task is no
    input here either, and its labels are not used.

    Args:
        tables: DataFrames or paths of .csv, .tsv or .parquet files, by task or tuple of tasks,
            which are names of columns.
        kinds: kinds of tasks, or `Task`s, by name; inferred where they are not given.

    Raises:
        UserError: no table, a table that lacks a target or an input column of the others, or
            whatever `polytask.data.table_dataset` refuses.
        MissingExtraError: pandas is not installed.
    """
    if not tables:
        raise UserError("there is no table; expected at least one, by the name of its task.")
    frames = {key: _frame(given) for key, given in tables.items()}
    dataset, wanted = stack_tables(frames, kinds)
    names = list(dataset.tasks)
    preprocessor = Preprocessor.fit(dataset, np.arange(dataset.n))
    inputs = preprocessor.transform(dataset.inputs)
    tasks = {name: dataset.tasks[name].fitted(dataset.targets[name]) for name in names}
    pairs: dict[Key, Pair] = {}
    low = 0
    for key, frame in frames.items():
        rows = slice(low, low + len(frame))
        targets = {name: torch.from_numpy(dataset.targets[name][rows]) for name in tasks_of(key)}
        pairs[key] = ({name: value[rows] for name, value in inputs.items()}, targets)
        low += len(frame)
    return Tables(tasks, pairs, preprocessor, dataset.columns, dataset.notes, wanted)


def stack_tables(
    frames: Mapping[Key, pd.DataFrame], kinds: Mapping[str, Any] | None = None, **options: Any
) -> tuple[Dataset, dict[str, Wanted]]:
    """The rows of all tables as one data set, one table below the other, and what was asked for.

    A task has labels in the rows of its own tables only. `options` are those of `table_dataset`.
    Raises as `read_tables` does.
    """
    import pandas as pd

    names = list(dict.fromkeys(name for key in frames for name in tasks_of(key)))
    known = {name: dict(kinds or {}).get(name) for name in names}
    columns = list(dict.fromkeys(c for frame in frames.values() for c in frame.columns))
    for key, frame in frames.items():
        for task in tasks_of(key):
            if task not in columns and not isinstance(known[task], Task):
                raise _no_target(key, task, list(frame.columns))
    wanted = {w.name: w for w in parse_targets(known, columns)}
    labels = {column for item in wanted.values() for column in item.reads(columns)}
    _check_columns(frames, wanted, labels)
    parts = []
    for key, frame in frames.items():
        own = {c for task in tasks_of(key) for c in wanted[task].reads(list(frame.columns))}
        kept = frame[[c for c in frame.columns if c in own or c not in labels]]
        # As objects, whole numbers and booleans stay what they are beside rows without a label.
        parts.append(kept.astype(dict.fromkeys(own, object)))
    together = pd.concat(parts, ignore_index=True)
    return table_dataset(together, known, **{"name": "tables", **options}), wanted


def is_table(given: Any) -> bool:
    """Whether this is a DataFrame, or says where a table is."""
    # By name: pandas is not loaded for data sets that are no table.
    return isinstance(given, str | os.PathLike) or type(given).__name__ == "DataFrame"


def tasks_of(key: Key) -> tuple[str, ...]:
    """The tasks of a key. Raises `UserError` for anything but names."""
    tasks = (key,) if isinstance(key, str) else tuple(key) if isinstance(key, tuple) else ()
    if not tasks or not all(isinstance(task, str) and task for task in tasks):
        raise UserError(
            f"data sets are named by a task or a tuple of tasks, as in {{'ner': ..., ('pos', "
            f"'chunk'): ...}}; found {key!r}."
        )
    if len(set(tasks)) < len(tasks):
        raise UserError(f"a data set names each of its tasks once, found {key!r}.")
    return tasks


def name_of(key: Key) -> str:
    """What the data set of a key is called: 'ner', 'pos+chunk'."""
    return "+".join(tasks_of(key))


def _frame(given: Any) -> pd.DataFrame:
    """A table with text column names."""
    frame: pd.DataFrame = read_table(Path(given)) if isinstance(given, str | os.PathLike) else given
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def _check_columns(
    frames: Mapping[Key, pd.DataFrame], wanted: Mapping[str, Wanted], labels: set[str]
) -> None:
    """Raise `UserError` unless every table has its targets, rows, and the others' inputs."""
    all_inputs = list(
        dict.fromkeys(c for f in frames.values() for c in f.columns if c not in labels)
    )
    for key, frame in frames.items():
        have = list(frame.columns)
        if len(frame) == 0:
            raise UserError(
                f"the data set of {name_of(key)!r} is empty: its table has no rows. Leave the task "
                "out, or look at how its rows were chosen."
            )
        for task in tasks_of(key):
            absent = [column for column in wanted[task].reads(have) if column not in have]
            if absent:
                raise _no_target(key, absent[0], have)
        if lacking := [column for column in all_inputs if column not in have]:
            raise UserError(
                f"the table of {name_of(key)!r} lacks {some(map(repr, lacking), 80)}, which other "
                f"tables have as input; found {some(have)}. One network reads all of them: rename "
                "the columns, leave out those that some tables lack, or add them with empty cells."
            )


def _no_target(key: Key, column: str, have: list[str]) -> UserError:
    """The error for a table without the column of its task."""
    close = nearest(column, have)
    hint = f"; did you mean {close!r}?" if close else "."
    return UserError(
        f"the table of {name_of(key)!r} has no column {column!r}, which is its target, but "
        f"{some(have)}{hint}"
    )
