"""Denoising: the clean input, from a corrupted copy of the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from polytask.auxiliary._base import Addition, Construction, drawn, without_label
from polytask.auxiliary.construction import _sources
from polytask.data import Dataset
from polytask.errors import UserError, unknown
from polytask.tasks import Task

_WHO = "denoising"
NOISES = ("masked", "gaussian")


class Denoising(Construction):
    """The clean input, predicted from corrupted copies of the training rows.

    P. Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders",
    ICML 2008, https://doi.org/10.1145/1390156.1390294. Copies are new rows, which have no label
    of any other task; the rows that were there have no label of this one, so it is not scored.
    The paper draws new noise at every visit; here it is drawn once a copy. Targets are clean
    values in raw units, missing ones without label; pictures are dense tasks, see
    `Reconstruction`.

    "masked": a part `strength` of the values is taken out. Columns: made missing, so they are
    read as missing values are (the training median, with the column's mark of missing values
    if it has one). Pictures: all channels at a place become their training mean, which
    preprocessing makes 0, as in the paper.
    "gaussian": noise of `strength` training deviations is added to every column or channel.

    Args:
        noise: masked or gaussian.
        strength: part that is masked, above 0 and below 1; or deviations of noise, above 0.
        copies: of every training row.
        columns: of a table, the numeric columns to predict (None: all). All numeric columns are
            corrupted.
        name: of the task.

    Cost: an epoch has 1 + copies times the rows.

    """

    paper = "Vincent 2008"
    makes = "the clean input of a corrupted row"
    requires = "images or numeric columns"

    def __init__(
        self,
        noise: Literal["masked", "gaussian"] = "masked",
        strength: float = 0.25,
        copies: int = 1,
        columns: Sequence[str] | None = None,
        name: str = "denoising",
    ) -> None:
        if noise not in NOISES:
            raise unknown("noise for denoising:", noise, NOISES)
        most = 1.0 if noise == "masked" else float("inf")
        if not 0 < strength < most:
            rule = "above 0 and below 1" if noise == "masked" else "above 0"
            raise UserError(f"denoising: strength should be {rule}, found {strength}.")
        if copies < 1:
            raise UserError(f"denoising: copies should be at least 1, found {copies}.")
        self.noise = noise
        self.strength = strength
        self.copies = copies
        self.columns = None if columns is None else _sources.listed(columns, "columns", _WHO)
        self.name = name

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One regression task with a value a channel or column."""
        return (_sources.input_task(dataset, self.columns, self.name, "squared", _WHO),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """Corrupted copies, drawn by `seed`, with the clean rows as targets.

        Raises `UserError` for a column without two different values among the training rows.
        """
        which = _sources.input_name(dataset, _WHO)
        clean = _sources.input_target(dataset, self.columns, train, _WHO)[train]
        generator = drawn(seed, self.name)
        rows = dataset.inputs[which][train]
        corrupted = [self._corrupt(rows, which, generator) for _ in range(self.copies)]
        inputs = {
            name: np.concatenate([v[train]] * self.copies) for name, v in dataset.inputs.items()
        }
        inputs[which] = np.concatenate(corrupted)
        old = without_label((dataset.n, *clean.shape[1:]), clean)
        return Addition({self.name: np.concatenate([old, *[clean] * self.copies])}, inputs)

    def _corrupt(self, rows: np.ndarray, which: str, generator: np.random.Generator) -> np.ndarray:
        """One corrupted copy of the training rows `rows`."""
        axes = (0, 2, 3) if which == "image" else (0,)
        if self.noise == "gaussian":
            known = _sources.known_numbers(rows).astype(np.float64)
            # A channel is full; a column without values has no spread, and gets no noise.
            count = np.isfinite(known).sum(axis=axes, keepdims=True)
            mean = np.nansum(known, axis=axes, keepdims=True) / np.maximum(count, 1)
            spread = np.nansum(np.square(known - mean), axis=axes, keepdims=True)
            deviation = np.sqrt(spread / np.maximum(count, 1))
            noise = generator.standard_normal(rows.shape) * (self.strength * deviation)
            return (rows + noise).astype(np.float32)
        if which == "image":
            gone = generator.random((len(rows), 1, *rows.shape[2:])) < self.strength
            return np.where(gone, rows.mean(axis=axes, keepdims=True), rows).astype(np.float32)
        gone = generator.random(rows.shape) < self.strength
        return np.where(gone, np.nan, rows).astype(np.float32)
