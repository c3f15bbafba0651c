"""Features of an earlier stage at the places of later ones, so that both can be added up."""

from __future__ import annotations

from torch import Tensor

from polytask.architectures._layout import POOLS, Context, at_resolution, pooled
from polytask.errors import UserError


def aligned(h: Tensor, last: Tensor, channel_dim: int, context: Context | None = None) -> Tensor:
    """`h`, with its own channels, at the places of `last`.

    As it is where the places are the same; one vector an item where `last` has no places (the
    mean over places); maps of another size by adaptive average pooling. Raises `UserError` where
    places do not correspond: tokens or nodes of another number, or places made from vectors.
    """
    if _places(h, channel_dim) == _places(last, channel_dim):
        return h
    if last.dim() == 2:
        vectors = pooled(h, channel_dim, context)
        if vectors.shape[0] == last.shape[0]:
            return vectors
    elif channel_dim == 1 and h.dim() == last.dim() and h.dim() - 2 in POOLS:
        return at_resolution(h, last.shape[2:])
    raise UserError(
        f"features of an earlier stage have shape {tuple(h.shape)} and the last ones "
        f"{tuple(last.shape)}: expected the same places, maps, or vectors at the end. Leave the "
        "skip connections (shortcut or skip) out."
    )


def _places(h: Tensor, channel_dim: int) -> tuple[int, ...]:
    """Sizes of all dimensions but the channels."""
    dim = 1 if channel_dim == 1 else h.dim() - 1
    return tuple(size for axis, size in enumerate(h.shape) if axis != dim)
