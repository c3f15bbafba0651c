"""The parts of a multi-task attention network: masks, transitions, and features brought along."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from polytask.architectures._layout import ChannelNorm, Context, Pointwise, at_resolution, pooled


class AttentionMask(nn.Module):
    """sigmoid(norm(W_2 relu(norm(W_1 [u; prev])))): a number in (0, 1) a channel and place."""

    def __init__(self, before: int, inner: int, after: int, channel_dim: int) -> None:
        super().__init__()
        # No biases: the norms behind have one.
        self.first = Pointwise(before, inner, channel_dim, bias=False)
        self.first_norm = ChannelNorm(inner, channel_dim)
        self.second = Pointwise(inner, after, channel_dim, bias=False)
        self.second_norm = ChannelNorm(after, channel_dim)

    def forward(self, h: Tensor) -> Tensor:
        """Answer [N, after, ...], or [N, ..., after], at the places of `h`."""
        hidden = relu(self.first_norm(self.first(h)))
        return torch.sigmoid(self.second_norm(self.second(hidden)))


class Transition(nn.Module):
    """relu(norm(W h)): attended features at the width of the next block."""

    def __init__(self, before: int, after: int, channel_dim: int) -> None:
        super().__init__()
        self.map = Pointwise(before, after, channel_dim, bias=False)
        self.norm = ChannelNorm(after, channel_dim)

    def forward(self, h: Tensor) -> Tensor:
        """Answer features of another width at the same places."""
        return relu(self.norm(self.map(h)))


def at_places_of(h: Tensor, like: Tensor, channel_dim: int, context: Context) -> Tensor:
    """`h` at the places of `like`: averaged over the places that fall together.

    Where `like` has no places, the mean over all of them; where it has more, each is repeated.
    """
    if h.shape[:-1] == like.shape[:-1] if channel_dim == -1 else h.shape[2:] == like.shape[2:]:
        return h
    if like.dim() == 2:
        return pooled(h, channel_dim, context)
    first = h if channel_dim == 1 else h.movedim(-1, 1)
    places = like.shape[2:] if channel_dim == 1 else like.shape[1:-1]
    if first.dim() > 2 + len(places):
        first = first.flatten(2)
    first = first.reshape(*first.shape, *[1] * (2 + len(places) - first.dim()))
    brought = at_resolution(first, places)
    return brought if channel_dim == 1 else brought.movedim(1, -1)
