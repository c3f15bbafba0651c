"""Target columns as arrays: floats, class codes or label sets, with gaps kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from polytask.data._content import Content, content
from polytask.data._labels import label_text, places
from polytask.data._marks import missing_mark
from polytask.data._written import written_numbers
from polytask.data.dataset import MISSING_CODE
from polytask.errors import UserError, some
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ("|", ";", ",")
"""Between the labels of a multilabel column; the first that occurs is taken."""
FLAGS = {"False": "0", "True": "1"}
LISTED = re.compile(r"\[.*\]|[({]\s*['\"].*[)}]")
"""A list as Python prints it, which is what a list in a table becomes in a CSV file."""


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
        remedy = {
            "date": "Turn them into numbers, such as days since a start.",
            "nested": "Make one column of each value.",
        }.get(found.what, f"Leave missing ones empty, or ask for {task.name}:multiclass.")
        if found.what in ("text", "mixed") and written_numbers(series):
            remedy = "Write plain numbers, with a decimal point: 1200.5."
        raise UserError(
            f"target {task.name!r} holds {described(found, series)}; expected numbers for a "
            f"{task.kind} task. {remedy}"
        )
    values = found.values.to_numpy(dtype=np.float64)
    fits = np.abs(values) <= np.finfo(np.float32).max
    if infinite := int((~np.isnan(values) & ~fits).sum()):
        notes.append(f"target {task.name}: {infinite} infinite labels count as missing")
    if mark := missing_mark(values):
        notes.append(f"target {task.name}: {mark}")
    return np.where(fits, values, np.nan).astype(np.float32)


def _encode_classes(series: pd.Series, task: Task) -> np.ndarray:
    """int64 [N] class codes, -100 missing."""
    import pandas as pd

    place = _codes_by_text(task)
    codes, uniques = pd.factorize(series)
    texts = [label_text(value) for value in uniques]
    strange = [text for text in texts if text.strip() and text not in place]
    if strange:
        raise _no_class(task, strange[0])
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


def _no_class(task: Task, text: str) -> UserError:
    return UserError(
        f"target {task.name!r} holds the label {text!r}, which is not among its classes: "
        f"{some(map(label_text, task.classes))}. Correct it, leave it empty, or learn from rows "
        "that have it."
    )


def label_sets(series: pd.Series) -> pd.Series:
    """Each cell as a list of label texts; NaN where missing. Cells are lists or separated text.

    Raises `UserError` when some cells are lists and others are not, or are lists written as text.
    """
    present = series.dropna()
    listed = [v for v in present if isinstance(v, Iterable) and not isinstance(v, str)]
    if listed and len(listed) == len(present):
        return series.map(lambda cell: [label_text(v) for v in cell], na_action="ignore")
    text = series.map(label_text, na_action="ignore").astype(object)
    brackets = [v for v in text.dropna() if LISTED.fullmatch(v)]
    if listed or brackets:
        raise UserError(
            f"target {series.name!r} holds {len(listed) or len(brackets)} lists among "
            f"{len(present)} cells, such as {(listed or brackets)[0]!r}; expected labels with a "
            "mark between them, such as 'red|blue'. Write every cell so."
        )
    if not len(present):
        return text
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
                raise _no_class(task, part)
            out[row, place[part]] = 1
    return out


def encode_columns(frame: pd.DataFrame, task: Task) -> np.ndarray:
    """float32 [N, k] from one 0/1 column per label."""
    columns = []
    for name in map(str, task.classes):
        values = encode_target(frame[name], Task(name, "regression"), [])
        if not np.isin(values[~np.isnan(values)], (0, 1)).all():
            raise UserError(
                f"column {name!r} of target {task.name!r} holds more than 0 and 1; expected one "
                "column of 0 and 1 for each label. Encode it so, or leave the label out."
            )
        columns.append(values)
    return np.stack(columns, axis=1)


def described(found: Content, series: pd.Series) -> str:
    """What a column holds, with an example."""
    if found.what in ("text", "mixed") and (written := written_numbers(series)):
        return f"numbers with {written}"
    if found.what in ("mixed", "nested"):
        return found.detail
    present = series.dropna()
    present = present[present.astype(str).str.strip() != ""]
    example = f" such as {str(present.iloc[0])!r}" if len(present) else ""
    words = {"text": "words", "date": "dates", "boolean": "true and false", "empty": "nothing"}
    return words.get(found.what, found.what + "s") + example
