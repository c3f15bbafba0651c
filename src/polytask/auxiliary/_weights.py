"""Spatial weights as matrices: checked, applied to fields, made of the places of points."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError, count, need

LOG = logging.getLogger("polytask.auxiliary")


def checked(weights: Tensor, field: Tensor) -> Tensor:
    """Weights for the n cells of `field` [B, C, ...]: dense or sparse COO, of the field's type.

    Raises `UserError` for another shape and for values that are negative or not finite. Cells
    without neighbours are noted in the log, once for as many of as many cells.
    """
    n = field[0, 0].numel()
    if weights.ndim != 2 or tuple(weights.shape) != (n, n):
        raise UserError(
            f"spatial weights have shape {list(weights.shape)}; expected [{n}, {n}], a row and a "
            f"column for each of the {n} cells of x {list(field.shape)}."
        )
    if weights.layout is not torch.strided:
        weights = weights.to_sparse_coo().coalesce()
    weights = weights.to(field)
    values = weights if weights.layout is torch.strided else weights.values()
    if not bool(((values >= 0) & values.isfinite()).all()):
        raise UserError(
            "spatial weights hold values that are negative or not finite; expected numbers of at "
            "least 0, and 0 where two cells are no neighbours."
        )
    alone = int((weighted_sums(field.new_ones(1, 1, n), weights) == 0).sum())
    if alone:
        _say_islands(alone, n)
    return weights


def weighted_sums(field: Tensor, weights: Tensor) -> Tensor:
    """sum_j w_ij x_j of a field [B, C, ...] over its n cells, by weights [n, n]."""
    rows = field.reshape(-1, weights.shape[0])
    return (weights @ rows.T).T.reshape(field.shape)


def knn_weights(coordinates: Any, k: int = 8) -> Tensor:
    """Weights of points: each point's k nearest others weigh 1/k.

    A sparse COO float64 tensor [n, n] whose rows sum to 1, for `local_moran` on points. It need
    not be symmetric: the nearest point of an outlier has nearer ones itself. Points at one place
    are each other's neighbours; a point is never its own. Of equally far points any may be taken.
    Costs O(n log n).

    Args:
        coordinates: [n, d] array or tensor. Distances are straight lines in its units, so
            project longitudes and latitudes first.
        k: how many neighbours, from 1 to n - 1.

    Raises:
        UserError: k is too small or too large, or a coordinate is missing or infinite.
        MissingExtraError: scikit-learn is not installed.
    """
    if isinstance(coordinates, Tensor):
        coordinates = coordinates.detach().cpu().numpy()
    places = np.asarray(coordinates, np.float64)
    if places.ndim != 2 or not np.isfinite(places).all():
        raise UserError(
            f"coordinates have shape {list(places.shape)}; expected [points, dimensions] of finite "
            "numbers. Leave points without a place out."
        )
    n = len(places)
    if not 1 <= k < n:
        raise UserError(
            f"{count(n, 'place')} and k={k} neighbours; expected a k of at least 1 and more places "
            "than k. Take a smaller k."
        )
    try:
        from sklearn.neighbors import NearestNeighbors
    except ImportError as error:
        raise need("scikit-learn", "app", "finding the nearest neighbours") from error
    # Without arguments it leaves each point out of its own neighbours, also among equal places.
    near = NearestNeighbors(n_neighbors=k).fit(places).kneighbors(return_distance=False)
    rows = np.repeat(np.arange(n), k)
    return torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([rows, near.reshape(-1)])),
        torch.full((n * k,), 1 / k, dtype=torch.float64),
        (n, n),
        check_invariants=True,
    ).coalesce()


@cache
def _say_islands(alone: int, n: int) -> None:
    """Cached, so that a training loop does not say the same at every step."""
    LOG.warning(
        "%d of %d cells have no neighbours in the spatial weights; their Moran's I is 0. "
        "This is said once.",
        alone,
        n,
    )
