"""The networks that are timed: a trunk, light or heavy heads, and one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass
class Bench:
    """A network with T tasks and a batch; `losses()` is one forward pass."""

    trunk: nn.Module
    heads: nn.ModuleList
    x: Tensor
    y: Tensor

    def losses(self) -> tuple[dict[str, Tensor], Tensor]:
        """The T losses and the shared representation."""
        h = self.trunk(self.x)
        return {
            f"t{i}": (head(h) - self.y[i]).square().mean() for i, head in enumerate(self.heads)
        }, h

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for module in (self.trunk, self.heads):
            module.zero_grad(set_to_none=True)


class Pool(nn.Module):
    """Mean over the sequence."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, S, d] -> [N, d]."""
        return x.mean(dim=1)


def mlp(tasks: int, device: str) -> Bench:
    """Three hidden layers of 512, batch 256, linear heads."""
    trunk = nn.Sequential(
        nn.Linear(128, 512),
        nn.ReLU(),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Linear(512, 512),
        nn.ReLU(),
    )
    return _light(trunk, torch.randn(256, 128), 512, tasks, device)


def cnn(tasks: int, device: str) -> Bench:
    """Six convolutions on 32 x 32, batch 64, a linear layer after pooling, linear heads."""
    layers = [
        *_convolutions(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 256),
        nn.ReLU(),
    ]
    return _light(nn.Sequential(*layers), torch.randn(64, 3, 32, 32), 256, tasks, device)


def raw_cnn(tasks: int, device: str) -> Bench:
    """The same convolutions, pooled: the last shared operation is a convolution."""
    layers = [*_convolutions(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return _light(nn.Sequential(*layers), torch.randn(64, 3, 32, 32), 128, tasks, device)


def transformer(tasks: int, device: str) -> Bench:
    """Four encoder layers of width 192, 64 tokens, batch 16, mean pooling, linear heads."""
    layers = [
        nn.TransformerEncoderLayer(192, 4, 768, 0.0, batch_first=True, norm_first=True)
        for _ in range(4)
    ]
    trunk = nn.Sequential(*layers, nn.LayerNorm(192), Pool())
    return _light(trunk, torch.randn(16, 64, 192), 192, tasks, device)


def heavy_heads(tasks: int, device: str) -> Bench:
    """A small convolutional encoder and one convolutional decoder a task."""
    trunk = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU()
    )

    def head() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(32, 1, 3, padding=1),
        )

    heads = nn.ModuleList(head() for _ in range(tasks))
    y = torch.randn(tasks, 8, 1, 32, 32)
    return Bench(
        trunk.to(device), heads.to(device), torch.randn(8, 3, 32, 32).to(device), y.to(device)
    )


NETS: dict[str, Callable[[int, str], Bench]] = {
    "mlp": mlp,
    "cnn": cnn,
    "transformer": transformer,
    "raw cnn": raw_cnn,
    "heavy heads": heavy_heads,
}


def _convolutions() -> list[nn.Module]:
    out: list[nn.Module] = []
    channels = [3, 32, 32, 64, 64, 128, 128]
    for i, (a, b) in enumerate(pairwise(channels)):
        out += [nn.Conv2d(a, b, 3, stride=2 if i in (2, 4) else 1, padding=1), nn.ReLU()]
    return out


def _light(trunk: nn.Module, x: Tensor, width: int, tasks: int, device: str) -> Bench:
    heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(tasks))
    y = torch.randn(tasks, len(x), 1)
    return Bench(trunk.to(device), heads.to(device), x.to(device), y.to(device))
