"""What interpolation does without a network: inverse distances, kriging, bicubic grids."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from polytask.errors import UserError, foreign, need, unknown

VARIOGRAMS = ("linear", "power", "gaussian", "spherical", "exponential", "hole-effect")
MODES = ("bicubic", "spline", "bilinear", "nearest")
Mode = Literal["bicubic", "spline", "bilinear", "nearest"]
BLOCK = 5_000_000
"""Entries of the matrix places x known places that kriging makes at a time."""


def inverse_distance(
    places: np.ndarray,
    values: np.ndarray,
    wanted: np.ndarray,
    power: float = 2.0,
    neighbours: int = 12,
) -> np.ndarray:
    """Means of the nearest known values, weighted by distance^-power.

    D. Shepard, "A two-dimensional interpolation algorithm for irregularly-spaced data" (1968),
    https://doi.org/10.1145/800186.810616, over scikit-learn's `KNeighborsRegressor`. At a known
    place the answer is the mean of the values known there.

    Args:
        places: float [n, d] of the known values.
        values: float [n].
        wanted: float [m, d].
        power: above 0.
        neighbours: how many of the known values count at a place; all when there are fewer.

    Returns:
        float64 [m].

    Raises:
        UserError: shapes that do not fit, no value, values that are not finite, settings out of
            range.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.neighbors import KNeighborsRegressor
    except ImportError as error:
        raise need("scikit-learn", "app", "inverse_distance") from error
    known, target, asked = _points(places, values, wanted, least=1)
    if not 0 < power < float("inf") or neighbours < 1:
        raise UserError(
            f"expected power above 0 and at least 1 neighbour, found power={power!r} and "
            f"neighbours={neighbours!r}."
        )

    def weights(distances: np.ndarray) -> np.ndarray:
        # In units of the nearest: distances to a high power neither vanish nor overflow.
        nearest = distances.min(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = (distances / nearest) ** -power
        return np.where(nearest == 0, distances == 0, inverse)

    count = min(neighbours, len(known))
    found: np.ndarray = (
        KNeighborsRegressor(n_neighbors=count, weights=weights).fit(known, target).predict(asked)
    )
    return found


def kriging(
    places: np.ndarray,
    values: np.ndarray,
    wanted: np.ndarray,
    variogram: str = "exponential",
    **options: Any,
) -> np.ndarray:
    """Ordinary kriging in the plane, by pykrige: the best unbiased linear prediction.

    The variogram is fitted to the known values. One n x n matrix is inverted: O(n³) time, then
    O(n) a place. Known values at one place are replaced by their mean, since two rows of the
    matrix would be equal. A constant field is answered as it is, having no variogram.

    Args:
        places: float [n, 2] of the known values, at least 3 different ones.
        values: float [n].
        wanted: float [m, 2].
        variogram: "linear", "power", "gaussian", "spherical", "exponential" or "hole-effect".
        options: further arguments of `pykrige.ok.OrdinaryKriging`, such as `nlags` or
            `variogram_parameters`.

    Returns:
        float64 [m].

    Raises:
        UserError: shapes that do not fit, too few places, values that are not finite, an unknown
            variogram, or a system that pykrige cannot solve.
        MissingExtraError: pykrige is not installed (extra `spatial`).
    """
    try:
        from pykrige.ok import OrdinaryKriging
    except ImportError as error:
        raise need("pykrige", "spatial", "kriging") from error
    if variogram not in VARIOGRAMS:
        raise unknown("variogram", variogram, VARIOGRAMS)
    known, target, asked = _points(places, values, wanted, least=3, axes=2)
    known, target = _one_a_place(known, target)
    if np.ptp(target) == 0:
        return np.full(len(asked), target[0])
    with (
        foreign(
            lambda what: (
                f"kriging with the variogram {variogram!r} on {len(known)} places raised {what}; "
                "expected a system with a solution. Try another variogram."
            )
        ),
        _quiet(),
    ):
        model = OrdinaryKriging(*known.T, target, variogram_model=variogram, **options)
        parts = np.array_split(asked, -(-len(asked) * len(known) // BLOCK))
        found = [np.asarray(model.execute("points", *part.T)[0]) for part in parts]
    answer = np.concatenate(found)
    if not np.isfinite(answer).all():
        raise UserError(
            f"kriging with the variogram {variogram!r} answered values that are not finite. Try "
            "another variogram."
        )
    return answer


def upscale(coarse: Tensor, scale: int, mode: Mode = "bicubic") -> Tensor:
    """Fill in grids of which every `scale`-th row and column is known, from the first on.

    Coarse cell (i, j) lies on fine cell (scale i, scale j), where the answer equals it. (Resizing
    functions take a coarse cell for the middle of scale x scale fine ones instead, which is half a
    coarse cell off.) Behind the last known row and column, the border is continued.

    Args:
        coarse: float [N, C, H, W], H and W at least 2, for "spline" 4.
        scale: at least 2.
        mode: "bicubic" (torch's convolution, a = -0.75, which bends straight slopes a little),
            "spline" (bicubic interpolating spline by scipy, exact on cubics; no gradient),
            "bilinear" or "nearest".

    Returns:
        [N, C, scale H, scale W].

    Raises:
        UserError: another shape, mode or scale.
        MissingExtraError: scipy is not installed ("spline").
    """
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    if type(scale) is not int or scale < 2:
        raise UserError(f"scale must be a whole number of at least 2, found {scale!r}.")
    least = 4 if mode == "spline" else 2
    if coarse.ndim != 4 or min(coarse.shape[2:]) < least:
        raise UserError(
            f"expected grids [N, C, H, W] of at least {least} x {least} cells, found "
            f"{tuple(coarse.shape)}."
        )
    if mode == "spline":
        return _spline(coarse, scale)
    # Where fine cells lie among the coarse ones, with the first at -1 and the last at 1.
    rows, columns = (
        torch.arange(side * scale).to(coarse) * 2 / (scale * (side - 1)) - 1
        for side in coarse.shape[2:]
    )
    place = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    return grid_sample(
        coarse,
        place.expand(len(coarse), -1, -1, -1),
        mode=mode,
        padding_mode="border",
        align_corners=True,
    )


def _spline(coarse: Tensor, scale: int) -> Tensor:
    try:
        from scipy.interpolate import RectBivariateSpline
    except ImportError as error:
        raise need("scipy", "app", "upscale with mode='spline'") from error
    height, width = coarse.shape[2:]
    rows, columns = np.arange(height), np.arange(width)
    to_rows = np.minimum(np.arange(height * scale) / scale, height - 1)
    to_columns = np.minimum(np.arange(width * scale) / scale, width - 1)
    grids = coarse.detach().double().cpu().flatten(0, 1).numpy()
    fine = np.stack(
        [RectBivariateSpline(rows, columns, grid)(to_rows, to_columns) for grid in grids]
    )
    shape = (*coarse.shape[:2], height * scale, width * scale)
    return torch.from_numpy(fine).reshape(shape).to(coarse)


def _points(
    places: np.ndarray, values: np.ndarray, wanted: np.ndarray, least: int, axes: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All three in float64, checked to go together."""
    known, target, asked = (np.asarray(a, np.float64) for a in (places, values, wanted))
    shapes = f"places {known.shape}, values {target.shape}, wanted {asked.shape}"
    fits = known.ndim == asked.ndim == 2 and target.shape == known.shape[:1]
    if not fits or known.shape[1] != asked.shape[1] or known.shape[1] != (axes or known.shape[1]):
        raise UserError(
            f"expected places [n, {axes or 'd'}], values [n] and wanted [m, {axes or 'd'}], found "
            f"{shapes}."
        )
    if len(np.unique(known, axis=0)) < least or not len(asked):
        raise UserError(
            f"expected at least {least} different known places and one wanted, found {shapes}."
        )
    if not all(np.isfinite(a).all() for a in (known, target, asked)):
        raise UserError("places and values must be finite numbers; drop rows without a value.")
    return known, target, asked


def _one_a_place(known: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every place once, with the mean of its values."""
    unique, place, counts = np.unique(known, axis=0, return_inverse=True, return_counts=True)
    return unique, np.bincount(place.ravel(), target) / counts


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without pykrige's remarks about variograms that fit badly; what fails still raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
