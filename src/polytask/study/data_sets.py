"""From a mapping of tasks to whatever names their data to `DataSets`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data import Dataset, DataSets, read_table
from polytask.data._blocks import spatial_words
from polytask.data.sources import Key, name_of, stack_tables, tasks_of
from polytask.data.targets import Wanted, parse_targets
from polytask.errors import UserError, some
from polytask.study.settings import Choice
from polytask.study.source import open_data
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


def open_sets(
    data: Mapping[Any, Any],
    *,
    targets: Any = None,
    drop: Iterable[str] = (),
    split: str = "random",
) -> DataSets:
    """The data sets that a mapping names, by task or tasks, read and made alike.

    Tables are read as one: every column that is no task is an input, and categories get the same
    codes in all of them (see `polytask.data.read_tables`). Nothing is learned from the rows yet:
    how inputs are filled and scaled is, like the scales of targets, learned from training rows.

    Args:
        data: by a task, several tasks in one text ("pos, chunk") or a tuple of them: a `Dataset`,
            a DataFrame, a table's file, a registered name or `{name: {option: value}}`, or a
            folder written by `Dataset.save`. Of a table the tasks are columns.
        targets: kinds and roles of single tasks, as `polytask.compare` takes them.
        drop: columns of the tables that are neither inputs nor targets.
        split: as for `polytask.data.make_splits`; columns that only serve it are no inputs.

    Raises:
        UserError: data that are not there or empty, a table that lacks a column, labels that do
            not fit their task, or inputs that differ.
    """
    if not isinstance(data, Mapping) or not data:
        raise UserError(
            "expected data sets by task, as in {'ner': 'ner.csv', 'pos': 'pos.csv'}; found "
            f"{data!r}."
        )
    sources: dict[Key, Any] = {}
    for given, source in data.items():
        key = key_of(given)
        if key in sources:
            raise UserError(
                f"the tasks {name_of(key)!r} are given two data sets; expected one. Put the rows "
                "into one table, or name one of the tasks otherwise."
            )
        sources[key] = source
    names = list(dict.fromkeys(task for key in sources for task in tasks_of(key)))
    asked = [] if targets is None else parse_targets(targets, names, "task of the data sets:")
    wanted = {item.name: item for item in asked}
    sets: dict[Key, Dataset] = {}
    frames: dict[Key, pd.DataFrame] = {}
    for key, source in sources.items():
        if _is_table(source):
            try:
                frames[key] = _frame(source)
            except UserError as error:
                raise UserError(f"the data set of {name_of(key)!r}: {error}") from error
            continue
        specs = {task: _spec(wanted[task]) for task in tasks_of(key) if task in wanted}
        rest = {task: None for task in tasks_of(key) if task not in specs}
        sets[key] = open_data(source, targets={**specs, **rest})
    fingerprints, notes = {}, [note for dataset in sets.values() for note in dataset.notes]
    if frames:
        frames = _dropped(frames, list(drop), names)
        fingerprints = {name_of(key): _hash(frame) for key, frame in frames.items()}
        kinds = {task: _spec(item) for task, item in wanted.items()}
        joint = stack_tables(frames, kinds, **_aside(split))[0]
        notes += joint.notes
        low = 0
        for key, frame in frames.items():
            own = {task: joint.tasks[task] for task in tasks_of(key)}
            name = Path(sources[key]).stem if isinstance(sources[key], str | Path) else "table"
            only = replace(
                joint, name=name, tasks=own, targets={task: joint.targets[task] for task in own}
            )
            sets[key] = only.subset(np.arange(low, low + len(frame)))
            low += len(frame)
    elif list(drop):
        raise UserError(
            "drop: only tables (files or DataFrames) take it; the data sets here come with their "
            "own columns."
        )
    return DataSets.of({key: sets[key] for key in sources}, fingerprints, notes)


def key_of(given: Any) -> Key:
    """The task or tasks of a data set: "ner", ("pos", "chunk"), or "pos, chunk" as YAML has it.

    Raises `UserError` for anything but names.
    """
    if isinstance(given, str) and "," in given:
        given = tuple(part.strip() for part in given.split(","))
    key: Key = given if isinstance(given, tuple) and len(given) > 1 else tasks_of(given)[0]
    tasks_of(key)
    return key


def _is_table(source: Any) -> bool:
    """Whether `open_data` would read a table."""
    if isinstance(source, Dataset | Choice | Mapping):
        return False
    if isinstance(source, str | Path):
        # A folder is a saved data set; a name without a dot is a registered one.
        path = Path(source).expanduser()
        return path.is_file() or (isinstance(source, Path) and not path.is_dir())
    return True


def _frame(source: Any) -> pd.DataFrame:
    """A table with text column names. Raises `UserError` where there is none."""
    frame = source
    if isinstance(source, str | Path):
        frame = read_table(Path(source).expanduser())
    if not (hasattr(frame, "columns") and hasattr(frame, "iloc")):
        raise UserError(
            "expected a table's file, a DataFrame, a Dataset or a data set's name, found "
            f"{type(source).__name__}."
        )
    named: pd.DataFrame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    return named


def _dropped(
    frames: dict[Key, pd.DataFrame], drop: list[str], tasks: list[str]
) -> dict[Key, pd.DataFrame]:
    """The tables without the columns to drop. Raises `UserError` for one that no table has."""
    every = list(dict.fromkeys(column for frame in frames.values() for column in frame.columns))
    for column in drop:
        if column in tasks or column not in every:
            what = "is a task" if column in tasks else f"is no column; found {some(every)}"
            raise UserError(f"drop: {column!r} {what}. Name columns that are not to be inputs.")
    return {key: frame.drop(columns=drop, errors="ignore") for key, frame in frames.items()}


def _spec(item: Wanted) -> Task | dict[str, str]:
    """What was asked of a target, as a mapping of targets holds it."""
    if item.task is not None:
        return item.task
    return {"role": item.role, **({"kind": item.kind} if item.kind else {})}


def _aside(split: str) -> dict[str, Any]:
    """The columns of tables that a split goes by."""
    kind, _, column = split.partition(":")
    if kind == "spatial":
        return {"coordinates": spatial_words(split)[0]}
    return {kind: column} if kind in ("group", "time") and column else {}


def _hash(frame: pd.DataFrame) -> str:
    """SHA-256 of the names and cells of a table."""
    import pandas as pd

    found = hashlib.sha256("\n".join(map(str, frame.columns)).encode())
    found.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return found.hexdigest()
