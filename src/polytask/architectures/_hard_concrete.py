"""Hard-concrete gates: open, shut, or in between, drawn so that gradients tell which to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polytask.architectures._experts import mix
from polytask.architectures._layout import Context, Pointwise


@dataclass(frozen=True)
class Stretch:
    """Shape of the distribution: temperature, and the interval a sigmoid is stretched to."""

    beta: float = 0.9
    gamma: float = -0.1
    zeta: float = 1.1

    @property
    def shift(self) -> float:
        """beta log(-gamma / zeta): where the chance of 0 is even."""
        return self.beta * math.log(-self.gamma / self.zeta)


class HardConcrete(nn.Module):
    """Gates z in [0, 1] with a parameter log alpha each.

    C. Louizos, M. Welling, D. P. Kingma, "Learning Sparse Neural Networks through L0
    Regularization", ICLR 2018, https://arxiv.org/abs/1712.01312. With u uniform,

        z = clip(sigmoid((log u - log(1 - u) + log alpha) / beta) (zeta - gamma) + gamma, 0, 1)

    in training; in evaluation z = clip(sigmoid(log alpha) (zeta - gamma) + gamma, 0, 1).

    Args:
        gates: how many.
        stretch: the shape of the distribution.
        start: chance of not being 0 at first, in (0, 1), up to a small draw that tells gates apart.
    """

    def __init__(self, gates: int, stretch: Stretch, start: float) -> None:
        super().__init__()
        self.stretch, self.start = stretch, start
        self.log_alpha = nn.Parameter(torch.empty(gates))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every gate not 0 with the chance `start`, about."""
        logit = math.log(self.start / (1 - self.start))
        nn.init.normal_(self.log_alpha, logit + self.stretch.shift, 0.01)

    def forward(self) -> Tensor:
        """The gates: drawn anew in training, from torch's generator; the same in evaluation."""
        if not self.training:
            return self.settled()
        u = torch.rand_like(self.log_alpha).clamp(1e-6, 1 - 1e-6)
        return self._clipped((u.log() - (-u).log1p() + self.log_alpha) / self.stretch.beta)

    def settled(self) -> Tensor:
        """The gates of evaluation."""
        return self._clipped(self.log_alpha)

    def _clipped(self, logits: Tensor) -> Tensor:
        low, high = self.stretch.gamma, self.stretch.zeta
        return (logits.sigmoid() * (high - low) + low).clamp(0, 1)

    def chance(self) -> Tensor:
        """P(z > 0) = sigmoid(log alpha - beta log(-gamma / zeta)) by gate; they sum to E[L0]."""
        return (self.log_alpha - self.stretch.shift).sigmoid()


class Route(nn.Module):
    """What one reader takes of several sub-networks: sum_i z_i u_i, or sum_i z_i W_i u_i."""

    def __init__(
        self,
        sources: int,
        stretch: Stretch,
        start: float,
        width: int | None = None,
        channel_dim: int = 1,
    ) -> None:
        """With `width`, the channels of the sources, W_i are learned matrices."""
        super().__init__()
        self.gates = HardConcrete(sources, stretch, start)
        # No bias: a route that is shut must leave nothing behind.
        self.maps = nn.ModuleList()
        if width is not None:
            for _ in range(sources):
                self.maps.append(Pointwise(width, width, channel_dim, bias=False))

    def forward(self, answers: Sequence[Tensor], context: Context) -> Tensor:
        """The weighted sum; `answers` of one shape."""
        if len(self.maps):
            answers = [part(u) for part, u in zip(self.maps, answers, strict=True)]
        return mix(self.gates(), answers, context)


class Layer(nn.Module):
    """Sub-networks beside each other, each reading a route of its own.

    Without routes, sub-network i reads answer i: the lowest level, and levels of one.
    """

    def __init__(self, nets: Sequence[nn.Module], routes: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets, self.routes = nn.ModuleList(nets), nn.ModuleList(routes)

    def forward(self, answers: Sequence[Tensor], context: Context) -> list[Tensor]:
        """What the sub-networks answer."""
        reads = [route(answers, context) for route in self.routes] or answers
        return [net(read, context) for net, read in zip(self.nets, reads, strict=True)]

    def taken(self) -> list[Route]:
        """The routes."""
        return [route for route in self.routes if isinstance(route, Route)]
