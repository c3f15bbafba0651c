"""Where channels and places are in features, and the small modules that follow the layout.

Features are [N, C] (no places), [N, C, ...] (`channel_dim` 1: maps) or [N, ..., C]
(`channel_dim` -1: tokens, or the nodes of a graph).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

Context = Mapping[str, Any]
"""What every stage reads beside its features and none changes.

Two keys are read here too: `mask`, bool [N, L], true where there is a token; and `segments` with
`items`: the item of every row, int64 [M], and how many items there are, where rows are nodes.
"""


POOLS: dict[int, Callable[..., Tensor]] = {
    1: adaptive_avg_pool1d,
    2: adaptive_avg_pool2d,
    3: adaptive_avg_pool3d,
}
"""Adaptive average pooling by the number of axes of places."""


def at_resolution(h: Tensor, places: Sequence[int]) -> Tensor:
    """Maps [N, C, ...] at other sizes of their axes: averaged, or repeated where more."""
    return POOLS[len(places)](h, tuple(places))


def pooled(h: Tensor, channel_dim: int = 1, context: Context | None = None) -> Tensor:
    """One vector an item, [N, C]: the mean over its places, padding left out."""
    context = context or {}
    if "segments" in context:
        segments, items = context["segments"], int(context["items"])
        if len(h) == len(segments):
            total = h.new_zeros(items, h.shape[-1]).index_add(0, segments, h)
            count = h.new_zeros(items).index_add(0, segments, h.new_ones(len(h)))
            return total / count.clamp(min=1)[:, None]
    if h.dim() == 2:
        return h
    if channel_dim == 1:
        return h.flatten(2).mean(dim=2)
    mask = context.get("mask")
    if mask is None or mask.shape != h.shape[:-1]:
        return h.flatten(1, -2).mean(dim=1)
    kept = mask[..., None].to(h.dtype)
    # `where` and not a product alone: what stands at padding may be infinite.
    total = torch.where(mask[..., None], h, 0).flatten(1, -2).sum(dim=1)
    return total / kept.flatten(1, -2).sum(dim=1).clamp(min=1)


def along(vector: Tensor, h: Tensor, channel_dim: int = 1) -> Tensor:
    """`vector`, [C] or [N, C], with axes of size 1 added so that it multiplies `h` by channel."""
    if channel_dim == -1 or h.dim() == 2:
        return vector if vector.dim() == 1 else vector.view(len(vector), *[1] * (h.dim() - 2), -1)
    return vector.view(-1 if vector.dim() == 1 else len(vector), *_tail(vector, h))


def _tail(vector: Tensor, h: Tensor) -> tuple[int, ...]:
    ones = (1,) * (h.dim() - 2)
    return ones if vector.dim() == 1 else (vector.shape[1], *ones)


class Pointwise(nn.Linear):
    """A linear map of the channels at every place: a 1x1 convolution in either layout."""

    def __init__(self, before: int, after: int, channel_dim: int = 1, bias: bool = True) -> None:
        super().__init__(before, after, bias=bias)
        self.channel_dim = channel_dim

    def forward(self, h: Tensor) -> Tensor:
        """Answer the features with `after` channels, in the layout they came in."""
        if self.channel_dim == -1 or h.dim() == 2:
            return super().forward(h)
        return super().forward(h.movedim(1, -1)).movedim(-1, 1)


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of every channel over items and places, in either layout.

    A training batch with one value a channel, whose variance is undefined, is normalised by
    the running statistics, as in evaluation.
    """

    def __init__(self, channels: int, channel_dim: int = 1) -> None:
        super().__init__(channels)
        self.channel_dim = channel_dim

    def forward(self, h: Tensor) -> Tensor:
        """Answer the normalised features, of the same shape."""
        last = h if self.channel_dim == -1 or h.dim() == 2 else h.movedim(1, -1)
        rows = last.reshape(-1, last.shape[-1])
        if self.training and len(rows) == 1:
            known = (self.running_mean, self.running_var, self.weight, self.bias)
            flat = nn.functional.batch_norm(rows, *known, training=False, eps=self.eps)
        else:
            flat = super().forward(rows)
        answer = flat.reshape(last.shape)
        return answer if last is h else answer.movedim(-1, 1)
