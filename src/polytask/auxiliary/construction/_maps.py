"""What the Moran recipes share: the target they read, and statistics of every row's map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from polytask.data import Dataset
from polytask.errors import UserError, unknown

CELLS = 2_000_000
"""Cells that are computed at a time."""


def regression_target(dataset: Dataset, of: str | None, axes: tuple[int, ...], who: str) -> str:
    """The regression task to read, one whose target has as many axes as one of `axes`.

    1 is a number a row, [N]; 3 is a map a row, [N, H, W]. None means the only one there is.
    Raises `UserError` when it is not there or not clear.
    """
    fitting = [
        name
        for name, task in dataset.tasks.items()
        if task.kind == "regression" and task.size == 1 and dataset.targets[name].ndim in axes
    ]
    what = "regression target" if 1 in axes else "regression target with a map a row"
    if not fitting:
        raise UserError(
            f"{who}: expected a {what}, found none in {dataset.name!r}, whose targets are "
            f"{', '.join(f'{name} ({task.kind})' for name, task in dataset.tasks.items())}. Leave "
            "it out."
        )
    if of is None and len(fitting) == 1:
        return fitting[0]
    if of is None:
        raise UserError(
            f"{who}: expected of=NAME of a {what}, found {len(fitting)} that could be meant "
            f"({', '.join(fitting)}). Name one."
        )
    if of not in fitting:
        raise unknown(f"{what} for {who}:", of, fitting)
    return of


def of_maps(maps: np.ndarray, statistic: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
    """float32 [L, N, H, W]: `statistic` of maps [N, H, W], NaN where a cell is missing.

    `statistic` gets maps [b, 1, H, W] in float64 and which of their cells are there, and gives
    [b, L, H, W].
    """
    rows = max(1, CELLS // maps[0].size)
    found = []
    for start in range(0, len(maps), rows):
        part = torch.from_numpy(maps[start : start + rows]).double()[:, None]
        there = part.isfinite()
        result = statistic(part, there).masked_fill(~there, torch.nan)
        found.append(result.float().numpy())
    return np.concatenate(found).swapaxes(0, 1)
