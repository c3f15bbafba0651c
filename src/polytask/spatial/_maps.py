"""Moran maps of a batch of grids, level by level, as inputs of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.auxiliary.moran import multiresolution_moran
from polytask.errors import UserError


def moran_maps(fields: Tensor, levels: int) -> list[Tensor]:
    """The local Moran's I of every grid at resolutions 0 to `levels` - 1, without a graph.

    Each map is that of one grid and channel alone, so nothing passes between rows. Neighbours
    share an edge or a corner, and their weights sum to 1. Each map is brought to [-1, 1] by its
    own range, as in the published code of Klemmer & Neill 2021; a constant one becomes 0.

    Args:
        fields: float [N, C, H, W].
        levels: how many; level r is computed on means of 2^r x 2^r cells and brought back to
            [H, W] by repetition.

    Raises:
        UserError: another shape, or grids too small for so many levels.
    """
    check_grids(fields)
    with torch.no_grad():
        maps = multiresolution_moran(fields.detach(), levels, normalize="minmax")
    return list(maps.chunk(levels, dim=1))


def unit_range(fields: Tensor) -> Tensor:
    """Every [H, W] of [N, C, H, W] brought to [-1, 1]; 0 where it is constant.

    Raises `UserError` for another shape.
    """
    check_grids(fields)
    low, high = fields.amin((2, 3), keepdim=True), fields.amax((2, 3), keepdim=True)
    spread = high - low
    scaled = 2 * (fields - low) / torch.where(spread > 0, spread, 1) - 1
    return torch.where(spread > 0, scaled, 0)


def check_grids(fields: object) -> None:
    """Raise `UserError` unless these are grids [N, C, H, W] of floating-point numbers."""
    if not isinstance(fields, Tensor) or fields.ndim != 4 or not fields.is_floating_point():
        found = type(fields).__name__
        if isinstance(fields, Tensor):
            found = f"shape {tuple(fields.shape)} of {fields.dtype}"
        raise UserError(
            f"expected grids as a floating-point tensor [N, C, H, W], found {found}. One channel "
            "is fields[:, None]."
        )
