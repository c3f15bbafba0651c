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
from polytask.errors import UserError, some, unknown
from polytask.study.joined import Joined, is_joined, same_groups, same_rows
from polytask.study.mixing import Mixed
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
    return _read(data, targets, drop, split)[0]


def _read(
    data: Mapping[Any, Any], targets: Any, drop: Iterable[str], split: str
) -> tuple[DataSets, dict[str, np.ndarray]]:
    """What `open_sets` gives, and the groups of the tables, with the same codes in all of them."""
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
    groups: dict[str, np.ndarray] = {}
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
            if joint.groups is not None:
                groups[name_of(key)] = joint.groups[low : low + len(frame)]
            low += len(frame)
    elif list(drop):
        raise UserError(
            "drop: only tables (files or DataFrames) take it; the data sets here come with their "
            "own columns."
        )
    return DataSets.of({key: sets[key] for key in sources}, fingerprints, notes), groups


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


def open_joined(
    data: Any,
    *,
    targets: Any = None,
    drop: Iterable[str] = (),
    split: str = "random",
) -> Joined:
    """The data sets that `data` names by task, as one.

    Args:
        data: a mapping as `open_sets` takes it, or a folder in which a study saved several.
        targets, drop, split: as for `open_sets`; the first two are settled in such a folder.

    Raises:
        UserError: as `open_sets`; `targets` or `drop` with a folder.
    """
    if isinstance(data, str | Path) and is_joined(Path(data)):
        for word, given in (("targets", targets), ("drop", list(drop) or None)):
            if given is not None:
                raise UserError(
                    f"{word}: {data} holds data sets whose tasks and inputs were settled when they "
                    "were saved. Leave it out, or name what they were read from."
                )
        return Joined.load(data)
    sets, groups = _read(data, targets, drop, split)
    by_group = split.partition(":")[0] == "group"
    return Joined.of(sets, same_groups(sets, groups) if by_group else same_rows(sets))


def mix(
    dataset: Joined,
    schedules: tuple[Choice, ...],
    tasks_per_step: int | str,
    steps_per_epoch: int | None,
    batch_size: int | Mapping[Any, int],
    usual: int,
) -> Mixed:
    """How a study mixes these data sets; those without a batch size have the usual one.

    Raises `UserError` for a batch size of another data set, and more data sets a step than there
    are.
    """
    sets = {name_of(key): tasks_of(key) for key in dataset.sets.sets}
    if tasks_per_step != "all" and int(tasks_per_step) > len(sets):
        raise UserError(
            f"tasks_per_step: expected 'all' or a number from 1 to {len(sets)}, the data sets "
            f"there are; found {tasks_per_step}."
        )
    if isinstance(batch_size, Mapping):
        known = {name_of(key_of(given)): size for given, size in batch_size.items()}
        for name in known:
            if name not in sets:
                raise unknown("data set in batch_size:", name, sets)
        sizes = {name: known.get(name, usual) for name in sets}
    else:
        sizes = dict.fromkeys(sets, batch_size)
    return Mixed(sets, schedules, sizes, tasks_per_step, steps_per_epoch)
