"""Target columns as arrays: floats, class codes or label sets, with gaps kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from polytask.data._content import Content, content
from polytask.data._labels import label_text, places
from polytask.data.dataset import MISSING_CODE
from polytask.errors import UserError
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ("|", ";", ",")
"""Between the labels of a multilabel column; the first that occurs is taken."""
FLAGS = {"False": "0", "True": "1"}


def encode_target(series: pd.Series, task: Task, notes: list[str]) -> np.ndarray:
    """The labels of `series` in the encoding of `task`; infinite numbers count as missing.

    Raises:
        UserError: a label is not of the task's kind or not among its classes.
    """
    if task.kind in ("binary", "multiclass"):
        return _encode_classes(series, task)
    if task.kind == "multilabel":
        return _encode_sets(series, task)
    if task.output_size != 1 and task.kind == "regression":
        raise UserError(
            f"target {task.name!r} asks for {task.output_size} outputs but is one column; "
            f"give every output its own target."
        )
    found = content(series)
    if found.what == "empty":
        return np.full(len(series), np.nan, np.float32)
    if found.what not in ("number", "boolean", "duration"):
        raise UserError(
            f"target {task.name!r} holds {described(found, series)}; expected numbers "
            f"for a {task.kind} task."
        )
    values = found.values.to_numpy(dtype=np.float64)
    fits = np.abs(values) <= np.finfo(np.float32).max
    if infinite := int((~np.isnan(values) & ~fits).sum()):
        notes.append(f"target {task.name}: {infinite} infinite labels count as missing")
    return np.where(fits, values, np.nan).astype(np.float32)


def _encode_classes(series: pd.Series, task: Task) -> np.ndarray:
    """int64 [N] class codes, -100 missing."""
    import pandas as pd

    place = _codes_by_text(task)
    codes, uniques = pd.factorize(series)
    texts = [label_text(value) for value in uniques]
    strange = [text for text in texts if text.strip() and text not in place]
    if strange:
        raise UserError(
            f"target {task.name!r} holds the label {strange[0]!r}, which is not among its "
            f"classes: {', '.join(map(label_text, task.classes))}."
        )
    table = np.asarray([place.get(text, MISSING_CODE) for text in texts] + [MISSING_CODE])
    return table[codes].astype(np.int64)


def new_labels(series: pd.Series, task: Task) -> pd.Series:
    """Which rows have a label that is not among the classes of `task`; bool [N]."""
    place = _codes_by_text(task)
    text = series.map(label_text, na_action="ignore")
    known = text.isna() | text.isin(list(place)) | (text.astype(str).str.strip() == "")
    return ~known.astype(bool)


def _codes_by_text(task: Task) -> dict[str, int]:
    """The code of every label, by all texts that stand for it."""
    place = places(map(label_text, task.classes))
    # True and False are 1 and 0 where the classes are.
    place = {word: place[code] for word, code in FLAGS.items() if code in place} | place
    place.setdefault(str(MISSING_CODE), MISSING_CODE)
    return place


def label_sets(series: pd.Series) -> pd.Series:
    """Each cell as a list of label texts; NaN where missing. Cells are lists or separated text."""
    present = series.dropna()
    if len(present) and all(isinstance(v, Iterable) and not isinstance(v, str) for v in present):
        return series.map(lambda cell: [label_text(v) for v in cell], na_action="ignore")
    text = series.map(label_text, na_action="ignore")
    mark = next((m for m in SEPARATORS if text.dropna().str.contains(m, regex=False).any()), "|")
    return text.map(
        lambda cell: [part.strip() for part in cell.split(mark) if part.strip()], na_action="ignore"
    )


def _encode_sets(series: pd.Series, task: Task) -> np.ndarray:
    """float32 [N, k] of 0 and 1; NaN rows where the cell is missing."""
    place = {label_text(c): code for code, c in enumerate(task.classes)}
    out = np.full((len(series), len(place)), np.nan, np.float32)
    missing = series.isna().to_numpy()
    for row, parts in enumerate(label_sets(series)):
        if missing[row]:
            continue
        out[row] = 0
        for part in parts:
            if part not in place:
                raise UserError(
                    f"target {task.name!r} holds the label {part!r}, which is not among its "
                    f"classes: {', '.join(place)}."
                )
            out[row, place[part]] = 1
    return out


def encode_columns(frame: pd.DataFrame, task: Task) -> np.ndarray:
    """float32 [N, k] from one 0/1 column per label."""
    columns = []
    for name in map(str, task.classes):
        values = encode_target(frame[name], Task(name, "regression"), [])
        if not np.isin(values[~np.isnan(values)], (0, 1)).all():
            raise UserError(f"column {name!r} of target {task.name!r} holds more than 0 and 1.")
        columns.append(values)
    return np.stack(columns, axis=1)


def described(found: Content, series: pd.Series) -> str:
    """What a column holds, with an example."""
    present = series.dropna()
    example = f" such as {str(present.iloc[0])!r}" if len(present) else ""
    words = {"text": "words", "date": "dates", "mixed": found.detail, "nested": found.detail}
    return words.get(found.what, found.what) + example
