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
    """Three hidden layers, linear heads: width 512, batch 256 (accelerator: 4096, 4096)."""
    width, batch = (4096, 4096) if device == "cuda" else (512, 256)
    sizes = [128, width, width, width]
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return _light(nn.Sequential(*layers), torch.randn(batch, 128), width, tasks, device)


def cnn(tasks: int, device: str) -> Bench:
    """Six convolutions on 32 x 32, a linear layer after pooling, linear heads: batch 64
    (accelerator: four times the channels, batch 256)."""
    out = 128 * _wider(device)
    layers = [*_convolutions(device), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [nn.Linear(out, 2 * out), nn.ReLU()]
    return _light(nn.Sequential(*layers), _images(device), 2 * out, tasks, device)


def raw_cnn(tasks: int, device: str) -> Bench:
    """The same convolutions, pooled: the last shared operation is a convolution."""
    layers = [*_convolutions(device), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return _light(nn.Sequential(*layers), _images(device), 128 * _wider(device), tasks, device)


def transformer(tasks: int, device: str) -> Bench:
    """Four encoder layers, mean pooling, linear heads: width 192, 64 tokens, batch 16
    (accelerator: 1024, 256, 32)."""
    width, tokens, batch = (1024, 256, 32) if device == "cuda" else (192, 64, 16)
    layers = [
        nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True, norm_first=True)
        for _ in range(4)
    ]
    trunk = nn.Sequential(*layers, nn.LayerNorm(width), Pool())
    return _light(trunk, torch.randn(batch, tokens, width), width, tasks, device)


def heavy_heads(tasks: int, device: str) -> Bench:
    """A small convolutional encoder and one convolutional decoder a task: 32 channels, batch 8
    (accelerator: 128, 32)."""
    wide, batch = (128, 32) if device == "cuda" else (32, 8)
    trunk = nn.Sequential(
        nn.Conv2d(3, wide, 3, padding=1), nn.ReLU(), nn.Conv2d(wide, wide, 3, 2, 1), nn.ReLU()
    )

    def head() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(wide, 1, 3, padding=1),
        )

    heads = nn.ModuleList(head() for _ in range(tasks))
    x, y = torch.randn(batch, 3, 32, 32), torch.randn(tasks, batch, 1, 32, 32)
    return Bench(trunk.to(device), heads.to(device), x.to(device), y.to(device))


NETS: dict[str, Callable[[int, str], Bench]] = {
    "mlp": mlp,
    "cnn": cnn,
    "transformer": transformer,
    "raw cnn": raw_cnn,
    "heavy heads": heavy_heads,
}


def _wider(device: str) -> int:
    return 4 if device == "cuda" else 1


def _images(device: str) -> Tensor:
    return torch.randn(256 if device == "cuda" else 64, 3, 32, 32)


def _convolutions(device: str) -> list[nn.Module]:
    out: list[nn.Module] = []
    channels = [3, *(width * _wider(device) for width in (32, 32, 64, 64, 128, 128))]
    for i, (a, b) in enumerate(pairwise(channels)):
        out += [nn.Conv2d(a, b, 3, stride=2 if i in (2, 4) else 1, padding=1), nn.ReLU()]
    return out


def _light(trunk: nn.Module, x: Tensor, width: int, tasks: int, device: str) -> Bench:
    heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(tasks))
    y = torch.randn(tasks, len(x), 1)
    return Bench(trunk.to(device), heads.to(device), x.to(device), y.to(device))
