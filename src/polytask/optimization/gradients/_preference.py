"""How much each task counts, by name: the `preference` of several methods."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polytask.errors import UserError, unknown

Preference = Mapping[str, float]


def checked(preference: Preference | None) -> dict[str, float] | None:
    """The preference as a dict; `UserError` for a number that is not positive and finite."""
    if preference is None:
        return None
    for task, value in preference.items():
        if not 0 < value < float("inf"):
            raise UserError(f"preference[{task!r}] must be positive and finite, found {value}.")
    return dict(preference)


def shares(preference: Preference | None, tasks: tuple[str, ...]) -> Tensor:
    """The present tasks' preferences relative to each other, shape [T], sum 1; float64.

    Equal without a preference; `UserError` for a task that it does not name.
    """
    if preference is None:
        return torch.full((len(tasks),), 1 / len(tasks), dtype=torch.float64)
    for task in tasks:
        if task not in preference:
            raise unknown("task in preference:", task, preference)
    chosen = torch.tensor([preference[task] for task in tasks], dtype=torch.float64)
    return chosen / chosen.sum()
