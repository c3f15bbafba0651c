"""Local Moran's I of fields: where a value lies among values like it, at one or more scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from polytask.auxiliary._grid import CONTIGUITY, enlarged, neighbour_sums, pooled
from polytask.auxiliary._weights import checked, weighted_sums
from polytask.errors import UserError, unknown

Contiguity = Literal["queen", "rook"]
ROUNDING = 16
"""A field is constant when it varies by no more than so many units in the last place."""


def local_moran(
    x: Tensor,
    weights: Contiguity | Tensor = "queen",
    standardize: Literal["row", "none"] = "row",
    normalize: Literal["minmax"] | None = None,
    *,
    present: Tensor | None = None,
    compat: Literal["reference"] | None = None,
) -> Tensor:
    """Local Moran's I of every cell, per image and channel: differentiable, as large as `x`.

    I_i = (n - 1) z_i sum_j w_ij z_j / sum_j z_j^2 with z the field less its mean (Anselin 1995;
    as a helper task: Klemmer and Neill 2021, SXL, https://arxiv.org/abs/2006.10461). Above 0
    where a cell and its neighbours lie on the same side of the mean, below 0 where they differ.
    It stays the same when the field is multiplied by a number or one is added. With rows that sum
    to 1, sum I / (n - 1) is the global Moran's I.

    A constant field gives zeros, also as gradient. A value that is not finite makes its whole
    field NaN, unless `present` leaves it out. Cells without neighbours get 0; weights that have
    such islands are noted once in the log.

    The published code (https://github.com/konstantinklemmer/sxl) departs from the paper: its
    weights are binary, because the line that should standardise rows has no effect, and maps are
    brought to [-1, 1]; compat="reference" does the same. It reads the first channel of square
    images only, and no gradient passes through it; here all channels count and one does.

    Costs O(n) a field on grids and with sparse weights, O(n^2) with dense ones. Float16 and
    bfloat16 fields are computed in float32.

    Args:
        x: fields [B, C, H, W], or [B, C, n] over points with `weights` as a tensor.
        weights: neighbours on the grid share an edge ("rook") or an edge or a corner ("queen"), or
            a tensor [n, n], n = H W, of weights of at least 0, dense or sparse; cells are
            counted row by row.
        standardize: divide each row of weights by its sum ("row": fewer neighbours at a border
            weigh more), or take them as they are ("none").
        normalize: "minmax" brings each map to [-1, 1]; a map that is constant becomes 0.
        present: bool, of the shape of `x` or one that expands to it: False where a cell is not
            there. Such a cell is nobody's neighbour, does not count in n and gets 0.
        compat: "reference" for the published code's numbers: as standardize="none" and
            normalize="minmax", whatever is given.

    Raises:
        UserError: an unknown word, or a shape that does not fit.
    """
    check_words(weights, standardize, normalize)
    _check(x, weights, present)
    if compat not in (None, "reference"):
        raise unknown("compat of local_moran:", str(compat), ("reference",))
    if compat == "reference":
        standardize, normalize = "none", "minmax"
    # Products of weights and fields should not be rounded to half precision.
    with torch.autocast(x.device.type, enabled=False):
        there = None if present is None else present.expand_as(x)
        found = _moran(_wide(x), there, weights, standardize == "row")
        if normalize == "minmax":
            found = _minmax(found, there)
    return found.to(x.dtype) if x.is_floating_point() else found


def multiresolution_moran(
    x: Tensor,
    levels: int = 3,
    weights: Contiguity = "queen",
    standardize: Literal["row", "none"] = "row",
    normalize: Literal["minmax"] | None = None,
    *,
    present: Tensor | None = None,
    compat: Literal["reference"] | None = None,
) -> Tensor:
    """Local Moran's I of coarser and coarser copies of the fields, each as large as `x`.

    Level r = 0, 1, ... averages blocks of 2^r x 2^r cells, takes `local_moran` on that grid with
    its own neighbours, and gives every cell the value of its block (Klemmer and Neill 2021, the
    multi-resolution task of SXL, https://arxiv.org/abs/2006.10461, which has three levels).
    Where 2^r does not divide a side, its last block is the mean of the cells left over; the
    published code takes sides of 32 and 64 only. A block is there when one of its cells is.

    Args:
        x: fields [B, C, H, W].
        levels: how many, at least 1; the coarsest grid must have 2 cells or more.
        weights, standardize, normalize, present, compat: as in `local_moran`.

    Returns:
        [B, levels C, H, W]: all channels of level 0, then all of level 1, ...

    Raises:
        UserError: as `local_moran`; too many levels for the size.
    """
    if not isinstance(weights, str):
        raise UserError(
            "multiresolution_moran: weights should be 'queen' or 'rook': every level has a grid "
            "of its own, and one tensor of weights fits one grid."
        )
    check_words(weights, standardize, normalize)
    _check(x, weights, present)
    check_levels(levels, x.shape[-2:])
    there = None if present is None else present.expand_as(x)
    fine = _unit(_wide(x), there)
    maps = []
    for level in range(levels):
        coarse, kept = pooled(fine, there, 2**level)
        found = local_moran(coarse, weights, standardize, normalize, present=kept, compat=compat)
        large = enlarged(found, 2**level, x.shape[-2:])
        maps.append(large if there is None else torch.where(there, large, 0))
    stacked = torch.cat(maps, dim=1)
    return stacked.to(x.dtype) if x.is_floating_point() else stacked


def _moran(x: Tensor, present: Tensor | None, weights: Contiguity | Tensor, by_row: bool) -> Tensor:
    """The statistic of float32 or float64 fields [B, C, ...]."""
    cells = tuple(range(2, x.ndim))
    there = x.new_ones(x[:1, :1].shape) if present is None else present.to(x)
    n = there.sum(cells, keepdim=True)
    unit = _unit(x, present)
    z = (unit - unit.sum(cells, keepdim=True) / n.clamp(min=1)) * there
    neighbours = _sums(weights, x)
    lag = neighbours(z)
    if by_row:
        each = neighbours(there)
        lag = lag / torch.where(each > 0, each, 1)
    total = z.square().sum(cells, keepdim=True)
    return (n - 1) * z * lag / torch.where(total == 0, 1, total)


def _unit(x: Tensor, present: Tensor | None) -> Tensor:
    """The fields brought to 0 to 1, with 0 in constant fields and in cells that are not there.

    Moran's I is the same for it, and so is its gradient with the two bounds held fixed. No
    square can overflow or vanish, and what a mean leaves of a constant field by rounding, which
    looks like a pattern, is never divided by its own size.
    """
    cells = tuple(range(2, x.ndim))
    known = x.detach()
    low = _masked(known, present, torch.inf).amin(cells, keepdim=True)
    high = _masked(known, present, -torch.inf).amax(cells, keepdim=True)
    flat = _constant(low, high)
    unit = torch.where(flat, 0, (x - low) / torch.where(flat, 1, high - low))
    return _masked(unit, present, 0)


def _minmax(found: Tensor, present: Tensor | None) -> Tensor:
    """Maps brought to [-1, 1]; zeros where all values are equal, and in cells not there."""
    cells = tuple(range(2, found.ndim))
    low = _masked(found, present, torch.inf).amin(cells, keepdim=True)
    high = _masked(found, present, -torch.inf).amax(cells, keepdim=True)
    level = _constant(low, high)
    scaled = 2 * (found - low) / torch.where(level, 1, high - low) - 1
    return _masked(torch.where(level, 0, scaled), present, 0)


def _constant(low: Tensor, high: Tensor) -> Tensor:
    """Whether a field between these bounds, finite ones, varies by no more than rounding does."""
    size = torch.maximum(low.abs(), high.abs())
    return (high - low <= ROUNDING * torch.finfo(low.dtype).eps * size) & size.isfinite()


def _masked(x: Tensor, present: Tensor | None, value: float) -> Tensor:
    """`x` with `value` in the cells that are not there."""
    return x if present is None else x.masked_fill(~present, value)


def _wide(x: Tensor) -> Tensor:
    """Float32, or float64 as it is."""
    return x if x.dtype == torch.float64 else x.float()


def _sums(weights: Contiguity | Tensor, x: Tensor) -> Callable[[Tensor], Tensor]:
    """What sums a field over the neighbours of each cell."""
    if isinstance(weights, str):
        return partial(neighbour_sums, kind=weights)
    return partial(weighted_sums, weights=checked(weights, x))


def check_words(weights: str | Tensor, standardize: str, normalize: str | None) -> None:
    """Raise `UserError` for a word that is none of those of `local_moran`."""
    if isinstance(weights, str) and weights not in CONTIGUITY:
        raise unknown("weights of local_moran:", weights, CONTIGUITY)
    if standardize not in ("row", "none"):
        raise unknown("standardize of local_moran:", str(standardize), ("row", "none"))
    if normalize not in (None, "minmax"):
        raise unknown("normalize of local_moran:", str(normalize), ("minmax",))


def check_levels(levels: int, shape: Sequence[int]) -> None:
    """Raise `UserError` for a number of levels that maps of sides `shape` do not have."""
    height, width = shape
    if levels < 1 or 2 ** (levels - 1) >= max(height, width):
        raise UserError(
            f"multiresolution_moran: levels={levels} for fields of {height} x {width}; expected "
            "at least 1, and so few that the coarsest grid has more than one cell: it averages "
            "2^(levels - 1) cells along each side."
        )


def _check(x: Tensor, weights: Contiguity | Tensor, present: Tensor | None) -> None:
    """Raise `UserError` for fields, weights or cells that do not fit together."""
    grid = isinstance(weights, str)
    if x.ndim != 4 and (grid or x.ndim != 3):
        wanted = "[B, C, H, W]" + ("" if grid else " or [B, C, n]")
        raise UserError(
            f"local_moran: x has shape {list(x.shape)}; expected {wanted}"
            + (". Points need their weights as a tensor (knn_weights)." if grid else ".")
        )
    if 0 in x.shape:
        raise UserError(f"local_moran: x has shape {list(x.shape)}; expected a cell at least.")
    if present is None:
        return
    try:
        fits = present.dtype == torch.bool and present.expand_as(x) is not None
    except RuntimeError:
        fits = False
    if not fits:
        raise UserError(
            f"local_moran: present is {present.dtype} of shape {list(present.shape)}; expected "
            f"true or false for each cell of x {list(x.shape)}."
        )
