"""Small modules of a task's own between shared stages; each starts as the identity, to the bit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from polytask.architectures._layout import ChannelNorm, Context, Pointwise, along, pooled


class ResidualAdapter(nn.Module):
    """h + W norm(h), a linear map of the channels at every place; W starts at zero.

    With an inner width below `width`, W = W_up W_down; only W_up starts at zero.
    """

    def __init__(self, width: int, inner: int, norm: bool, channel_dim: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width, channel_dim) if norm else nn.Identity()
        self.down: nn.Module = nn.Identity()
        if inner < width:
            self.down = Pointwise(width, inner, channel_dim, bias=False)
        self.up = Pointwise(min(inner, width), width, channel_dim, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """Answer features of the same shape."""
        change: Tensor = self.up(self.down(self.norm(h)))
        return h + change


class SqueezeExcitation(nn.Module):
    """h 2 sigmoid(W_2 relu(W_1 mean(h))), one gate a channel and item; W_2 and its bias start at 0.

    Twice the sigmoid, so that the gate starts at 1 and lies in (0, 2).
    """

    def __init__(self, width: int, inner: int, channel_dim: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, inner)
        self.excite = nn.Linear(inner, width)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)
        self.channel_dim = channel_dim

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """Answer features of the same shape."""
        mean = pooled(h, self.channel_dim, context)
        gate = 2 * torch.sigmoid(self.excite(relu(self.squeeze(mean))))
        segments = context.get("segments")
        if segments is not None and len(segments) == len(h):
            gate = gate[segments]  # rows are nodes: each takes the gate of its graph
        return h * along(gate.to(h.dtype), h, self.channel_dim)


class Modulation(nn.Module):
    """h * scale + shift, by channel; they start at 1 and 0."""

    def __init__(self, width: int, channel_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.channel_dim = channel_dim

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """Answer features of the same shape."""
        scale, shift = (along(p.to(h.dtype), h, self.channel_dim) for p in (self.scale, self.shift))
        return h * scale + shift
