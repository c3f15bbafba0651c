"""Inputs made ready for a network, with everything learned from the training rows only."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.data.dataset import Dataset
from polytask.errors import UserError

IMAGE_BLOCK = 1024
"""Rows of images looked at together."""
CLIP = 10.0
"""Standardised values are cut off at this many standard deviations."""


@dataclass(frozen=True)
class InputSpec:
    """What an encoder gets: the shapes of one row after preprocessing."""

    numeric: int = 0
    """Width of `numeric`: columns plus missing-value indicators."""
    categorical: tuple[int, ...] = ()
    """Cardinality per column of `categorical`; code 0 means missing or not seen in training."""
    image: tuple[int, int, int] | None = None
    """(channels, height, width) of `image`."""
    other: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """(name, shape) of every further input."""
    tokens: tuple[tuple[str, tuple[int, ...], int], ...] = ()
    """(name, shape, codes) of those among them that are whole numbers from 0 up, [L] or [L, c] a
    row: the codes 0 to `codes` - 1 are those up to the largest of the training rows."""


@dataclass(frozen=True)
class Preprocessor:
    """Fills, standardises and encodes inputs as learned by `fit`.

    - `numeric` [N, d]: missing or infinite values take the training median; columns with
      missing values in training get an indicator column (0 or 1) at the end; then
      (x - mean) / sd, cut off at ±10; constant columns become 0.
    - `categorical` [N, c]: codes seen in training become 1..k; missing and unseen become 0.
    - `image` [N, C, H, W]: (x - mean) / sd per channel.
    - anything else: passed on as a tensor; of whole numbers the largest is noted (`spec.tokens`),
      and codes above it, first met later, are left for the encoder to read as unknown.

    Mean and standard deviation are taken over the values present, in float64.
    """

    median: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    indicators: np.ndarray
    levels: tuple[np.ndarray, ...]
    image_mean: np.ndarray
    image_scale: np.ndarray
    spec: InputSpec

    @classmethod
    def fit(cls, dataset: Dataset, train_indices: np.ndarray) -> Preprocessor:
        """Learn from rows `train_indices` (int [M]) of `dataset`.

        Raises:
            UserError: there are no training rows, or an image is not [N, C, H, W].
        """
        rows = np.asarray(train_indices)
        if len(rows) == 0:
            raise UserError("there are no training rows to learn the preprocessing from.")
        numeric = dataset.inputs.get("numeric", np.empty((dataset.n, 0), np.float32))
        median, mean, scale, indicators = _fit_numeric(numeric[rows])
        codes = dataset.inputs.get("categorical", np.empty((dataset.n, 0), np.int64))[rows]
        levels = tuple(np.unique(column[column >= 0]) for column in codes.T)
        image = dataset.inputs.get("image")
        if image is not None and image.ndim != 4:
            raise UserError(f"image has shape {image.shape}; expected [rows, channels, h, w].")
        image_mean, image_scale = _fit_image(image, rows)
        spec = InputSpec(
            numeric=len(mean) + len(indicators),
            categorical=tuple(len(seen) + 1 for seen in levels),
            image=None if image is None else (image.shape[1], image.shape[2], image.shape[3]),
            other=tuple(
                (name, tuple(value.shape[1:]))
                for name, value in dataset.inputs.items()
                if name not in ("numeric", "categorical", "image")
            ),
            tokens=_fit_tokens(dataset, rows),
        )
        return cls(median, mean, scale, indicators, levels, image_mean, image_scale, spec)

    def transform(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Tensors of the same names; `numeric` float32 [N, spec.numeric], `categorical` int64.

        Raises:
            UserError: an input that was there in training is missing or has another width.
        """
        out: dict[str, Tensor] = {}
        if self.spec.numeric:
            values = _get(inputs, "numeric", (len(self.mean),))
            out["numeric"] = torch.from_numpy(self._numeric(values))
        if self.spec.categorical:
            codes = _get(inputs, "categorical", (len(self.levels),))
            known = [_recode(codes[:, i], seen) for i, seen in enumerate(self.levels)]
            out["categorical"] = torch.from_numpy(np.stack(known, axis=1))
        if self.spec.image is not None:
            image = _get(inputs, "image", self.spec.image)
            shape = (1, -1, 1, 1)
            # In float32 and in place: images are the one input that can fill the memory.
            scaled = image - self.image_mean.reshape(shape).astype(np.float32)
            scaled *= _inverse(self.image_scale).reshape(shape).astype(np.float32)
            out["image"] = torch.from_numpy(scaled)
        for name, row in self.spec.other:
            out[name] = torch.from_numpy(np.ascontiguousarray(_get(inputs, name, row)))
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        arrays = ("median", "mean", "scale", "indicators", "image_mean", "image_scale")
        return {
            **{name: getattr(self, name).tolist() for name in arrays},
            "levels": [seen.tolist() for seen in self.levels],
            "spec": asdict(self.spec),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Preprocessor:
        """The preprocessor that `to_dict` described, also after a trip through JSON."""
        spec = state["spec"]
        return cls(
            median=np.asarray(state["median"], np.float64),
            mean=np.asarray(state["mean"], np.float64),
            scale=np.asarray(state["scale"], np.float64),
            indicators=np.asarray(state["indicators"], np.int64),
            levels=tuple(np.asarray(seen, np.int64) for seen in state["levels"]),
            image_mean=np.asarray(state["image_mean"], np.float64),
            image_scale=np.asarray(state["image_scale"], np.float64),
            spec=InputSpec(
                numeric=int(spec["numeric"]),
                categorical=tuple(spec["categorical"]),
                image=None if spec["image"] is None else tuple(spec["image"]),
                other=tuple((name, tuple(shape)) for name, shape in spec["other"]),
                tokens=tuple((n, tuple(s), int(codes)) for n, s, codes in spec.get("tokens", ())),
            ),
        )

    def _numeric(self, values: np.ndarray) -> np.ndarray:
        """float32 [N, d + indicators]."""
        absent = ~np.isfinite(values)
        filled = np.where(absent, self.median, values.astype(np.float64))
        scaled = np.clip((filled - self.mean) * _inverse(self.scale), -CLIP, CLIP)
        return np.concatenate([scaled, absent[:, self.indicators]], axis=1).astype(np.float32)


def _fit_numeric(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Median, mean, scale (float64 [d]) and the columns that get an indicator (int64)."""
    absent = ~np.isfinite(values)
    present = np.where(absent, np.nan, values.astype(np.float64))
    with warnings.catch_warnings():
        # A column without any value in training: numpy warns, and 0 is as good as any filling.
        warnings.filterwarnings("ignore", r"All-NaN slice|Mean of empty slice|Degrees of freedom")
        median = np.nan_to_num(np.nanmedian(present, axis=0))
        mean = np.nan_to_num(np.nanmean(present, axis=0))
        sd = np.nan_to_num(np.nanstd(present, axis=0))
        span = np.nan_to_num(np.nanmax(present, axis=0) - np.nanmin(present, axis=0))
    # Decided by the range: the deviation of equal floats need not be exactly 0.
    scale = np.where(span > 0, sd, 0.0)
    some = absent.any(axis=0) & ~absent.all(axis=0)
    return median, mean, scale, np.flatnonzero(some).astype(np.int64)


def _fit_image(images: np.ndarray | None, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale per channel (float64 [C]) over `rows`, empty when there is no image.

    In blocks of rows: no copy of the images is made, in float64 least of all.
    """
    if images is None:
        return np.empty(0), np.empty(0)
    axes = (0, 2, 3)
    blocks = np.array_split(rows, -(-len(rows) // IMAGE_BLOCK))
    count = len(rows) * images.shape[2] * images.shape[3]
    mean = sum(images[b].sum(axis=axes, dtype=np.float64) for b in blocks) / count
    centre = mean.reshape(1, -1, 1, 1)
    squares = sum(np.square(images[b] - centre).sum(axis=axes) for b in blocks)
    low = np.min([images[b].min(axis=axes) for b in blocks], axis=0)
    high = np.max([images[b].max(axis=axes) for b in blocks], axis=0)
    return mean, np.where(low == high, 0.0, np.sqrt(squares / count))


def token_inputs(dataset: Dataset) -> tuple[str, ...]:
    """The inputs that may be sequences of codes: whole numbers [N, L] or [N, L, c], no columns."""
    return tuple(
        name
        for name, value in dataset.inputs.items()
        if name not in ("numeric", "categorical", "image")
        and np.issubdtype(value.dtype, np.integer)
        and value.ndim in (2, 3)
    )


def is_sequence(dataset: Dataset) -> bool:
    """Whether all inputs are sequences of codes, as the encoder `transformer` reads them."""
    return set(token_inputs(dataset)) == set(dataset.inputs)


def is_molecule(dataset: Dataset) -> bool:
    """Whether the inputs are atoms in space, as the encoder `molecule` reads them."""
    return set(dataset.inputs) == {"atoms", "positions"}


def _fit_tokens(dataset: Dataset, rows: np.ndarray) -> tuple[tuple[str, tuple[int, ...], int], ...]:
    """`InputSpec.tokens` of these rows; an input with a number below 0 holds no codes."""
    found = []
    for name in token_inputs(dataset):
        value = dataset.inputs[name][rows]
        if value.size and value.min() >= 0:
            found.append((name, tuple(value.shape[1:]), int(value.max()) + 1))
    return tuple(found)


def _inverse(scale: np.ndarray) -> np.ndarray:
    """1 / scale; 0 where the scale is 0: a constant column stays 0 whatever comes later."""
    return np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)


def _recode(codes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Codes as 1..k by their place among those seen, 0 for the rest."""
    if len(seen) == 0:
        return np.zeros(len(codes), np.int64)
    place = np.searchsorted(seen, codes).clip(max=len(seen) - 1)
    return np.where(seen[place] == codes, place + 1, 0).astype(np.int64)


def _get(inputs: Mapping[str, np.ndarray], name: str, row: tuple[int, ...]) -> np.ndarray:
    """The input `name`, whose rows must have shape `row`."""
    if name not in inputs:
        raise UserError(f"the input {name!r} is missing; found {sorted(inputs)}.")
    value = np.asarray(inputs[name])
    if tuple(value.shape[1:]) != row:
        raise UserError(
            f"input {name!r} has rows of shape {tuple(value.shape[1:])}; "
            f"expected {row} as in training."
        )
    return value
