"""Affinities of tasks as users hold them, read as dissimilarities per stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from polytask.errors import UserError, unknown
from polytask.trees import Matrix, dissimilarities_of


def dissimilarities(
    affinity: Any, given: Sequence[str], wanted: Sequence[str], stages: int
) -> list[Matrix]:
    """How far apart tasks are, [stages, tasks, tasks], see `polytask.trees.dissimilarities_of`.

    Args:
        affinity: for all stages one matrix, or a list of one per stage. A matrix is an `Affinity`
            (anything with `.tasks` and rows by task), a mapping {task: {task: number}}, nested
            lists, an array or a tensor in the order of `given`.
        given: the tasks in the order of matrices without names.
        wanted: the tasks in the order of the answer.
        stages: how many there are.

    Raises:
        UserError: matrices of other tasks or another number of stages, or what is no number.

    """
    value = affinity.tolist() if hasattr(affinity, "tolist") else affinity
    listed = isinstance(value, Sequence) and not isinstance(value, str) and bool(value)
    several = listed and not _is_row(value[0])
    if several and len(value) != stages:
        raise UserError(
            f"affinity must be one matrix or one per stage; the encoder has {stages} stages, "
            f"found {len(value)} matrices."
        )
    named = [_named(matrix, given) for matrix in (value if several else [value])]
    ordered = [
        [[matrix[a][b] if a != b else 0.0 for b in wanted] for a in wanted] for matrix in named
    ]
    found = dissimilarities_of(ordered)
    return found if several else found * stages


def _is_row(value: object) -> bool:
    """Whether this is a row of numbers, and not a matrix."""
    if isinstance(value, Mapping):
        return False
    value = value.tolist() if hasattr(value, "tolist") else value
    return isinstance(value, Sequence) and all(isinstance(number, Real) for number in value)


def _named(matrix: Any, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """The matrix by names; raises `UserError` unless it has a number for every two tasks."""
    rows = matrix.tolist() if hasattr(matrix, "tolist") else matrix
    if hasattr(rows, "tasks"):
        rows = {task: rows[task] for task in rows.tasks}
    if not isinstance(rows, Mapping):
        if not isinstance(rows, Sequence) or isinstance(rows, str) or len(rows) != len(tasks):
            raise _refused(rows, tasks)
        rows = dict(zip(tasks, rows, strict=True))
    out: dict[str, dict[str, float]] = {}
    for task, row in rows.items():
        if task not in tasks:
            raise unknown("task in affinity:", task, tasks)
        if not isinstance(row, Mapping):
            row = row.tolist() if hasattr(row, "tolist") else row
            if not isinstance(row, Sequence) or isinstance(row, str) or len(row) != len(tasks):
                raise _refused(row, tasks)
            row = dict(zip(tasks, row, strict=True))
        for other in row:
            if other not in tasks:
                raise unknown("task in affinity:", other, tasks)
        out[task] = dict(row)
    for a in tasks:
        for b in tasks:
            number = out.get(a, {}).get(b)
            if a != b and not (isinstance(number, Real) and math.isfinite(number)):
                raise UserError(
                    f"affinity must have a finite number for every two tasks, found {number!r} "
                    f"for {a!r} and {b!r}."
                )
    return out


def _refused(found: object, tasks: Sequence[str]) -> UserError:
    return UserError(
        f"affinity must be a matrix of the {len(tasks)} tasks ({', '.join(tasks)}), by name or as "
        f"{len(tasks)} lists of {len(tasks)} numbers, or one such matrix per stage. Found "
        f"{found!r}."
    )
