"""Arrays in the types that the library computes with, checked one by one."""

from __future__ import annotations

import numpy as np

from polytask.errors import UserError, count
from polytask.tasks import Task

MISSING_CODE = -100
"""The class code of a missing label, as PyTorch's losses ignore it."""
FLOAT_INPUTS = ("numeric", "image")


def input_array(name: str, value: np.ndarray) -> np.ndarray:
    """An input in the type the library computes with: float32, or int64 for whole numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of unequal length
        raise UserError(
            f"input {name!r} has rows of unequal length; expected an array, [rows, columns]. Fill "
            "the short ones, or leave them out."
        ) from error
    if array.ndim == 0:
        raise UserError(
            f"input {name!r} is a single value; expected an array with one entry a row. Pass an "
            "array, [rows, ...]."
        )
    if name in ("numeric", "categorical") and array.ndim != 2:
        raise UserError(
            f"input {name!r} has shape {array.shape}; expected [rows, columns]. Use "
            "array[:, None] for a single column."
        )
    if not (array.dtype == bool or np.issubdtype(array.dtype, np.number)):
        raise UserError(
            f"input {name!r} is of type {array.dtype}; expected numbers. Encode words as whole "
            "numbers, or make the data set from a DataFrame with table_dataset."
        )
    if np.issubdtype(array.dtype, np.integer) and name not in FLOAT_INPUTS:
        return _owned(array, np.int64)
    if np.issubdtype(array.dtype, np.complexfloating):
        raise UserError(
            f"input {name!r} is of type {array.dtype}; expected real numbers. Give the real and "
            "the imaginary part as two columns."
        )
    return _owned(array, np.float32)


def _owned(array: np.ndarray, dtype: type) -> np.ndarray:
    """Contiguous and writeable, copied only if need be: torch warns of read-only memory."""
    return np.require(array, dtype, ["C", "W"])


def target_array(task: Task, value: np.ndarray) -> np.ndarray:
    """A target in its encoding, with codes checked against the task's classes."""
    array = np.asarray(value)
    if task.kind not in ("binary", "multiclass"):
        if array.dtype == object or not (
            np.issubdtype(array.dtype, np.number) or array.dtype == bool
        ):
            raise UserError(
                f"target {task.name!r} is of type {array.dtype}; expected numbers for a "
                f"{task.kind} task (encode raw labels with Task.encode)."
            )
        if np.issubdtype(array.dtype, np.integer) and task.kind == "custom":
            return _owned(array, np.int64)
        return _owned(array, np.float32)
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(
            f"target {task.name!r} is of type {array.dtype}; expected whole-number class codes, "
            f"{MISSING_CODE} where missing (encode raw labels with Task.encode)."
        )
    array = _owned(array, np.int64)
    present = array[array != MISSING_CODE]
    k = len(task.classes) or (2 if task.kind == "binary" else 0)
    if len(present) and (present.min() < 0 or (k and present.max() >= k)):
        raise UserError(
            f"target {task.name!r} holds class codes {present.min()}..{present.max()}; "
            f"expected 0..{k - 1}, or {MISSING_CODE} where missing (Task.encode makes them)."
        )
    return array


def codes(name: str, values: np.ndarray) -> np.ndarray:
    """Any labels as int64 codes 0..k-1 in sorted order."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise UserError(f"{name} has shape {array.shape}; expected one value a row.")
    if array.dtype == object:
        if missing := sum(value is None or value != value for value in array):
            raise _missing(name, missing)
        array = array.astype(str)
    if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
        raise _missing(name, int(np.isnan(array).sum()))
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _missing(name: str, gaps: int) -> UserError:
    return UserError(
        f"{name} has {count(gaps, 'missing value')}; expected one for every row. Fill them, or "
        f"leave {name} out."
    )


def instants(values: np.ndarray) -> np.ndarray:
    """Times as numbers that sort: datetimes become int64 nanoseconds."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise UserError(f"times has shape {array.shape}; expected one value a row.")
    if np.issubdtype(array.dtype, np.datetime64):
        if np.isnat(array).any():
            raise _missing("times", int(np.isnat(array).sum()))
        return array.astype("datetime64[ns]").astype(np.int64)
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f"times is of type {array.dtype}; expected datetimes or numbers. Convert it, as by "
            "pandas.to_datetime(...)."
        )
    if not np.isfinite(array).all():
        raise UserError(
            f"times has {int((~np.isfinite(array)).sum())} missing or infinite values; expected "
            "one for every row. Fill them, or leave times out."
        )
    return array.astype(np.float64)
