"""The reference vectors of Pareto-MTL as a user states them, checked and turned into rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.base import check_range
from polytask.optimization.gradients._directions import directions

Vector = Mapping[str, float]


def checked_vectors(preferences: int | Sequence[Vector]) -> int | list[dict[str, float]]:
    """How many vectors, or the vectors; `UserError` for anything else."""
    if isinstance(preferences, int):
        check_range("preferences", preferences, 1)
        return preferences
    if not preferences:
        raise UserError("preferences of pareto_mtl must hold at least one vector, found none.")
    return [_checked("preferences", vector) for vector in preferences]


def checked_choice(
    preference: int | Vector | None, preferences: int | list[dict[str, float]]
) -> int | dict[str, float] | None:
    """The chosen vector or its place; `UserError` for a place that is not there."""
    if isinstance(preference, int):
        check_range("preference", preference, 0)
        if not isinstance(preferences, int):
            _check_place(preference, len(preferences))
        return preference
    return None if preference is None else _checked("preference", preference)


def reference_vectors(
    preference: int | dict[str, float] | None,
    preferences: int | list[dict[str, float]],
    tasks: list[str],
) -> tuple[Tensor, Tensor]:
    """The chosen vector, shape [T], and all of them, [n, T], in the order of `tasks`."""
    if isinstance(preferences, int):
        vectors = directions(len(tasks), preferences)
    else:
        vectors = torch.stack([_as_row("preferences", v, tasks) for v in preferences])
    if preference is None:
        return torch.ones(len(tasks), dtype=torch.float64), vectors
    if isinstance(preference, dict):
        return _as_row("preference", preference, tasks), vectors
    if len(tasks) > 1:  # a single task has one direction, whichever was chosen
        _check_place(preference, len(vectors))
    return vectors[min(preference, len(vectors) - 1)], vectors


def _checked(name: str, vector: object) -> dict[str, float]:
    if (
        not isinstance(vector, Mapping)
        or not all(isinstance(v, int | float) and 0 <= v < float("inf") for v in vector.values())
        or not any(v > 0 for v in vector.values())
    ):
        raise UserError(
            f"{name} of pareto_mtl must map task names to numbers that are not negative, at least "
            f"one of them positive, such as {{price: 1, size: 2}}; found {vector!r}."
        )
    return {str(task): float(value) for task, value in vector.items()}


def _as_row(name: str, vector: Mapping[str, float], tasks: list[str]) -> Tensor:
    for task in tasks:
        if task not in vector:
            raise UserError(
                f"{name} of pareto_mtl does not name task {task!r}; found {dict(vector)}. Give "
                "every task a part, 0 where its loss should be least."
            )
    row = torch.tensor([vector[task] for task in tasks], dtype=torch.float64)
    return row / row.norm() if bool(row.norm() > 0) else row


def _check_place(place: int, count: int) -> None:
    if not place < count:
        raise UserError(
            f"preference of pareto_mtl is place {place} among {count} preferences; expected 0 to "
            f"{count - 1}."
        )
