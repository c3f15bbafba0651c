"""Cells of a regular grid: sums over neighbours, coarser grids and back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

ROOK = ((0, 1), (1, 0), (1, 2), (2, 1))
CONTIGUITY = {"rook": ROOK, "queen": (*ROOK, (0, 0), (0, 2), (2, 0), (2, 2))}
"""Neighbours by shared edges, or by shared edges and corners: places in the 3 x 3 square around."""


def neighbour_sums(field: Tensor, kind: str) -> Tensor:
    """The sum over each cell's neighbours, of a field [..., H, W]; nothing lies beyond the border.

    A 3 x 3 convolution with ones, written as shifted copies: a convolution may be rounded to
    TF32 on a GPU.
    """
    height, width = field.shape[-2:]
    padded = pad(field, (1, 1, 1, 1))
    copies = [padded[..., i : i + height, j : j + width] for i, j in CONTIGUITY[kind]]
    total = copies[0]
    for copy in copies[1:]:
        total = total + copy
    return total


def pooled(field: Tensor, present: Tensor | None, size: int) -> tuple[Tensor, Tensor | None]:
    """Means over blocks of `size` x `size` cells of [B, C, H, W], and which blocks have any cell.

    The last blocks of a side that `size` does not divide are means of the cells they have.
    `present` is bool [B, C, H, W], or None when every cell is there.
    """
    if size == 1:
        return field, present
    if present is None:
        return avg_pool2d(field, size, ceil_mode=True), None
    share = avg_pool2d(present.to(field), size, ceil_mode=True)
    mean = avg_pool2d(torch.where(present, field, 0), size, ceil_mode=True)
    return mean / torch.where(share > 0, share, 1), share > 0


def enlarged(field: Tensor, size: int, shape: torch.Size) -> Tensor:
    """Every cell of [..., h, w] as a block of `size` x `size`, cut to the sides `shape` (H, W)."""
    large = field.repeat_interleave(size, dim=-2).repeat_interleave(size, dim=-1)
    return large[..., : shape[0], : shape[1]]
