"""Raw labels as target arrays, with missing labels kept missing."""

from __future__ import annotations

from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from polytask.errors import UserError, nearest
from polytask.tasks._items import MISSING

if TYPE_CHECKING:
    from polytask.tasks._task import Task


def encode(task: Task, values: Any) -> np.ndarray:
    """See `Task.encode`."""
    raw = as_array(values)
    if task.kind == "custom":
        return _custom(task, raw)
    width = task.output_size
    if task.kind == "multilabel":
        raw = _rows(task, raw, width)
        codes = _lookup(task, raw, {0: 0, 1: 1}, "0, 1, True, False")
        return np.where(codes == MISSING, np.nan, codes).astype(np.float32)
    if task.kind == "regression":
        return _numbers(task, raw if width == 1 else _rows(task, raw, width))
    shown = ", ".join(repr(label) for label in task.classes[:20])
    return _lookup(task, raw, {label: i for i, label in enumerate(task.classes)}, shown)


def as_array(values: Any) -> np.ndarray:
    """Any column of labels as an array of numbers, or of objects."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.is_floating_point() else values).numpy()
    if isinstance(values, np.ma.MaskedArray):
        plain = values.data.astype(object)
        plain[np.ma.getmaskarray(values)] = None
        return plain
    if isinstance(values, np.ndarray):
        return values if values.dtype.kind in "fiub" else values.astype(object)
    if isinstance(values, str | bytes | dict | set) or values is None:
        raise UserError(f"expected a list or array of labels, found {type(values).__name__}.")
    if hasattr(values, "to_numpy"):  # a pandas column: its categories and dates become objects
        array = values.to_numpy()
        return array if array.dtype.kind in "fiub" else array.astype(object)
    values = list(values)
    try:
        return np.array(values, dtype=object)
    except ValueError:  # rows of unequal length: kept as they are, and refused by name later
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array


def is_missing(value: Any) -> bool:
    """None, NaN, pandas' NA and NaT (known by their type's name: pandas is not needed here)."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating | np.datetime64) and value != value


def _rows(task: Task, raw: np.ndarray, width: int) -> np.ndarray:
    """Rows of `width` elements; a missing row is a row of missing elements."""
    if raw.ndim > 1:
        if raw.shape[1] != width:
            raise UserError(
                f"task {task.name!r}: expected {width} values per item, found {raw.shape[1]}."
            )
        return raw
    rows = np.empty((len(raw), width), dtype=object)
    for i, row in enumerate(raw):
        if is_missing(row):
            rows[i] = None
        elif isinstance(row, set | frozenset) and task.kind == "multilabel":
            for label in row:
                if label not in task.classes:
                    raise _not_a_class(task, label, i, ", ".join(map(repr, task.classes[:20])))
            rows[i] = [int(label in row) for label in task.classes]
        elif isinstance(row, list | tuple | np.ndarray) and len(row) == width:
            rows[i] = list(row)
        elif width == 1 and not isinstance(row, list | tuple | np.ndarray):
            rows[i] = row
        else:
            raise UserError(
                f"task {task.name!r}: expected {width} values per item, found {row!r} (item {i})."
            )
    return rows


def _numbers(task: Task, raw: np.ndarray) -> np.ndarray:
    """Floats with NaN for missing; refuses text and what float32 cannot hold."""
    wide = np.empty(raw.shape, dtype=np.float64)
    if raw.dtype != object:
        wide[...] = raw
    else:
        for index, value in np.ndenumerate(raw):
            if is_missing(value):
                wide[index] = np.nan
            elif isinstance(value, Number | np.bool_) and not isinstance(value, complex):
                wide[index] = float(value)  # type: ignore[arg-type]
            else:
                raise UserError(
                    f"task {task.name!r} is regression: expected numbers, found {value!r} of type "
                    f"{type(value).__name__} (item {index[0]})."
                )
    large = np.isfinite(wide) & (np.abs(wide) > np.finfo(np.float32).max)
    if large.any():
        raise UserError(
            f"task {task.name!r}: {wide[large][0]:g} is too large for float32; rescale the target."
        )
    return wide.astype(np.float32)


def _lookup(task: Task, raw: np.ndarray, table: dict[Any, int], shown: str) -> np.ndarray:
    """Codes (int64, -100 missing) of raw labels, by equality."""
    if raw.dtype != object:  # numbers: look every distinct one up once
        distinct, where = np.unique(raw, return_inverse=True)
        codes = _lookup_each(task, distinct.astype(object), table, shown, raw)
        return codes[where].reshape(raw.shape)
    return _lookup_each(task, raw.ravel(), table, shown, raw).reshape(raw.shape)


def _lookup_each(
    task: Task, labels: np.ndarray, table: dict[Any, int], shown: str, raw: np.ndarray
) -> np.ndarray:
    codes = np.full(len(labels), MISSING, dtype=np.int64)
    for i, label in enumerate(labels):
        if is_missing(label):
            continue
        try:
            code = table.get(label)
        except TypeError:  # a list or another value that cannot be a label
            code = None
        if code is not None:
            codes[i] = code
        elif not (isinstance(label, Number) and label == MISSING):
            item = int(np.argwhere(raw == label)[0][0]) if raw.dtype != object else None
            row = i // (raw.size // len(raw)) if item is None else item
            raise _not_a_class(task, label, row, shown)
    return codes


def _not_a_class(task: Task, label: Any, item: int, shown: str) -> UserError:
    """The error for a label that is none of the classes."""
    close = nearest(label, task.classes) if isinstance(label, str) else None
    hint = f"; did you mean {close!r}?" if close else "."
    return UserError(
        f"task {task.name!r} is {task.kind}: {label!r} (item {item}) is not one of its classes"
        f"{hint} Expected {shown}, or a missing label (None, NaN, {MISSING})."
    )


def _custom(task: Task, raw: np.ndarray) -> np.ndarray:
    """Numbers as they are; integers stay integers, objects become floats with NaN."""
    if raw.dtype != object:
        return raw
    return _numbers(task, raw)
