"""A data set from a table: targets, inputs, and the columns that only serve the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data._content import content
from polytask.data._encode import described
from polytask.data._leaks import leaks
from polytask.data.columns import INPUT_KINDS, Recipe, transform_frame
from polytask.data.dataset import Dataset
from polytask.data.targets import (
    Targets,
    Wanted,
    encode_target,
    parse_targets,
    read_target,
)
from polytask.errors import UserError, count, some, unknown

if TYPE_CHECKING:
    import pandas as pd


def table_dataset(
    frame: pd.DataFrame,
    targets: Targets,
    *,
    drop: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    group: str | None = None,
    time: str | None = None,
    coordinates: Sequence[str] = (),
    name: str = "table",
) -> Dataset:
    """A data set from a table; every remaining column becomes an input.

    What was inferred is in `Dataset.notes`. Booleans and dates become numbers, words become
    categories; constant, empty and identifier-like columns are left out.

    Args:
        frame: one row per example.
        targets: `["price:regression", "sold:binary", "rooms"]`, tasks, or a mapping from name
            to kind or task; a kind that is not given is inferred.
        drop: columns that are not inputs.
        kinds: the kind of single columns, by name: a target kind for a target, `numeric` or
            `categorical` for an input.
        group: column for a group split; it is not an input.
        time: column for a time split; it is not an input.
        coordinates: two columns that say where a row is, for a spatial split and helper tasks
            of places. They stay inputs, unless they are dropped.
        name: of the data set.

    Raises:
        UserError: a column or kind that does not exist, a target that cannot be learned
            (constant, all missing, of the wrong kind), or no input left.
    """
    frame = _named(frame)
    columns = list(frame.columns)
    drop = [drop] if isinstance(drop, str) else list(map(str, drop))
    kinds = dict(kinds or {})
    places = list(map(str, coordinates))
    for what, asked in (
        *(("drop", drop), ("kinds", kinds), ("group", [group]), ("time", [time])),
        ("coordinates", places),
    ):
        for column in asked:
            if column is not None and column not in columns:
                raise unknown(f"column in {what}:", column, columns)
    wanted = [
        Wanted(item.name, kinds.pop(item.name), item.task)
        if item.name in kinds and item.task is None
        else item
        for item in parse_targets(targets, columns)
    ]
    used = {column for item in wanted for column in item.reads(columns)}
    for what, column in (
        *(("drop", c) for c in drop),
        *(("group", group), ("time", time)),
        *(("coordinates", c) for c in places),
    ):
        if column in used:
            raise UserError(
                f"the column {column!r} is a target; it cannot be in {what} too. Leave it out of "
                "one of the two."
            )
    notes: list[str] = []
    read = [read_target(frame, item, notes) for item in wanted]

    recipe = Recipe(dropped=dict.fromkeys(drop, "asked for"))
    aside = used | set(drop) | {group, time}
    for column, kind in kinds.items():
        if kind not in INPUT_KINDS:
            raise unknown(f"kind of the input column {column!r}:", kind, INPUT_KINDS)
    for column in columns:
        if column not in aside:
            recipe.decide(frame[column], kinds.get(column))
    if not recipe.numeric and not recipe.categorical:
        raise _no_input(columns, used, recipe.dropped, {"groups": group, "times": time})
    recipe.notes.insert(
        0, f"inputs: {len(recipe.numeric)} numeric, {len(recipe.categorical)} categorical columns"
    )
    for what, column in (("group", group), ("time", time)):
        if column is not None:
            recipe.notes.append(f"{column}: used for the {what} split, not as an input")
    metadata = recipe.to_dict() | {"group": group, "time": time}
    if places:
        metadata["coordinates"] = places
        recipe.notes.append(f"{', '.join(places)}: coordinates, for the spatial split")
    inputs = transform_frame(frame, metadata)
    encoded = {task.name: values for task, values in read}
    tasks = {task.name: task for task, _ in read}
    recipe.notes += leaks(tasks, encoded, inputs, metadata)
    return Dataset(
        name=name,
        inputs=inputs,
        targets=encoded,
        tasks=tasks,
        columns=metadata,
        groups=None if group is None else _groups(frame[group]),
        times=None if time is None else _times(frame[time]),
        coordinates=_coordinates(frame, places) if places else None,
        notes=notes + recipe.notes,
    )


def with_test_file(
    train_frame: pd.DataFrame,
    test_frame: pd.DataFrame,
    targets: Targets,
    *,
    name: str = "table",
    **options: Any,
) -> Dataset:
    """A data set whose test part is the user's own second table.

    Everything is decided on `train_frame` alone, then applied to `test_frame`. Rows of the
    test table come last; `fixed_split` says which they are. Options are `table_dataset`'s.

    Raises:
        UserError: as `table_dataset`; also when the test table lacks a column, holds words
            where there were numbers, or a class that the training table has not.
    """
    train = table_dataset(train_frame, targets, name=name, **options)
    test_frame = _named(test_frame)
    train_names, test_names = list(_named(train_frame).columns), list(test_frame.columns)
    # A dropped column may be absent; a target may not, or nothing could be judged.
    needless = set(train.columns["dropped"])
    if missing := [c for c in train_names if c not in test_names and c not in needless]:
        raise UserError(
            f"the test table lacks {some(map(repr, missing), 80)}; expected the columns of the "
            f"training table, found {some(map(repr, test_names), 120)}. Add what is missing, "
            "empty cells for an input."
        )
    notes = list(train.notes)
    encoded: dict[str, np.ndarray] = {}
    try:
        inputs = transform_frame(test_frame, train.columns)
        for item in parse_targets(targets, train_names):
            task = train.tasks[item.name]
            if item.reads(train_names) == [item.name]:
                encoded[task.name] = encode_target(test_frame[item.name], task, notes)
            else:
                encoded[task.name] = read_target(test_frame, item, [])[1]
    except UserError as error:
        raise UserError(f"test table: {error}") from error
    for task in train.tasks.values():
        if not _any_label(encoded[task.name]):
            raise UserError(
                f"target {task.name!r} has no labels in the test table; nothing could be judged. "
                "Give its labels, or leave the target out."
            )
    if extra := [c for c in test_names if c not in train_names]:
        notes.append(f"test table: columns not in the training table: {', '.join(extra)}")
    notes += _unseen(inputs, test_frame, train.columns)
    if shared := _same_rows(train, inputs, encoded):
        notes.append(
            f"test table: {shared} of {len(test_frame)} rows are in the training table too"
        )
    n = train.n
    return Dataset(
        name=name,
        inputs={key: np.concatenate([train.inputs[key], inputs[key]]) for key in train.inputs},
        targets={key: np.concatenate([train.targets[key], encoded[key]]) for key in train.tasks},
        tasks=train.tasks,
        columns=train.columns,
        groups=_both(train_frame, test_frame, train.columns["group"], _groups),
        times=_both(train_frame, test_frame, train.columns["time"], _times),
        coordinates=_both(
            train_frame, test_frame, train.columns.get("coordinates"), _all_coordinates
        ),
        fixed_split={"train": np.arange(n), "test": np.arange(n, n + len(test_frame))},
        notes=notes,
    )


def _no_input(
    columns: Sequence[str],
    targets: Iterable[str],
    dropped: Mapping[str, str],
    aside: Mapping[str, str | None],
) -> UserError:
    """The error for a table of which no column is left to predict from, with where all went."""
    by_reason: dict[str, list[str]] = {"targets": sorted(targets)}
    for name, why in dropped.items():
        by_reason.setdefault(f"left out as {why}", []).append(name)
    by_reason |= {why: [name] for why, name in aside.items() if name is not None}
    found = "; ".join(f"{why}: {some(names, 40)}" for why, names in by_reason.items())
    return UserError(
        f"no input column is left of {len(columns)} ({found}). Expected at least one to predict "
        "from: keep more of them, or name fewer targets."
    )


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with text column names, all different, and rows numbered from 0."""
    if len(frame) == 0:
        raise UserError("the table has no rows.")
    names = [str(name) for name in frame.columns]
    double = [repr(name) for name, count in Counter(names).items() if count > 1]
    if double:
        raise UserError(
            f"the table has columns of the same name: {some(double, 80)}; expected every name "
            "once. Rename all but one."
        )
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def _groups(series: pd.Series) -> np.ndarray:
    """int64 [N] codes of a group column."""
    import pandas as pd

    if missing := int(series.isna().sum()):
        raise UserError(
            f"group column {series.name!r} has {count(missing, 'missing value')}; expected a group "
            f"for every row. Fill them, or use another column."
        )
    return pd.factorize(series)[0].astype(np.int64)


def _times(series: pd.Series) -> np.ndarray:
    """[N] of a time column: nanoseconds for dates, otherwise the numbers themselves."""
    found = content(series)
    if found.what not in ("date", "number", "duration"):
        raise UserError(
            f"time column {series.name!r} holds {described(found, series)}; expected dates "
            f"(as 2024-12-31) or numbers. Write it so, or use another column."
        )
    if missing := int(found.values.isna().sum()):
        raise UserError(
            f"time column {series.name!r} has {count(missing, 'missing value')}; expected one in "
            "every row. Fill them, or use another column."
        )
    if found.what == "date":
        return found.values.to_numpy(dtype="datetime64[ns]")
    return found.values.to_numpy(dtype=np.float64)


def _coordinates(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """float64 [N, 2] of two columns of numbers."""
    if len(columns) != 2 or columns[0] == columns[1]:
        raise UserError(
            f"coordinates are {some(map(repr, columns))}; expected the names of two columns, east "
            "and north. Name both."
        )
    for name in columns:
        found = content(frame[name])
        if found.what != "number":
            raise UserError(
                f"coordinate column {name!r} holds {described(found, frame[name])}; expected "
                "numbers. Write it so, or use another column."
            )
        if missing := int(found.values.isna().sum()):
            raise UserError(
                f"coordinate column {name!r} has {count(missing, 'missing value')}; expected a "
                "place for every row. Fill them, or leave such rows out."
            )
    return np.stack([content(frame[c]).values.to_numpy(np.float64) for c in columns], axis=1)


def _all_coordinates(frame: pd.DataFrame) -> np.ndarray:
    return _coordinates(frame, list(frame.columns))


def _both(
    train: pd.DataFrame, test: pd.DataFrame, column: str | list[str] | None, read: Any
) -> Any:
    """Split columns over both tables, read as one so that codes agree."""
    import pandas as pd

    if column is None:
        return None
    return read(pd.concat([_named(train)[column], test[column]], ignore_index=True))


def _any_label(encoded: np.ndarray) -> bool:
    floating = np.issubdtype(encoded.dtype, np.floating)
    return bool((~np.isnan(encoded) if floating else encoded >= 0).any())


def _unseen(
    inputs: Mapping[str, np.ndarray], frame: pd.DataFrame, columns: Mapping[str, Any]
) -> list[str]:
    """A note per column whose test categories are partly unknown."""
    notes = []
    for i, name in enumerate(columns["categorical"]):
        new = int(((inputs["categorical"][:, i] < 0) & frame[name].notna().to_numpy()).sum())
        if new:
            notes.append(f"{name}: {new} test rows have categories not seen in training (missing)")
    return notes


def _same_rows(
    train: Dataset, inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
) -> int:
    """How many new rows equal a training row in every input and target."""

    def rows(x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray]) -> list[bytes]:
        parts = [x[k] for k in train.inputs] + [y[k] for k in train.tasks]
        flat = [np.ascontiguousarray(p).reshape(len(p), -1).view(np.uint8) for p in parts]
        return [row.tobytes() for row in np.concatenate(flat, axis=1)]

    known = set(rows(train.inputs, train.targets))
    return sum(row in known for row in rows(inputs, targets))
