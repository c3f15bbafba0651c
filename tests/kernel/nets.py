"""Small networks with the ways of sharing that a kernel must get right."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Losses = dict[str, Tensor]
Build = Callable[[], tuple[nn.Module, Callable[[], tuple[Losses, Tensor | list[Tensor] | None]]]]


class Trunked(nn.Module):
    """A trunk and one linear head a task; `reads` says at which depth each head enters."""

    def __init__(self, reads: dict[str, int], residual: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 7)])
        self.heads = nn.ModuleDict({task: nn.Linear(7, 1) for task in reads})
        self.reads = reads
        self.residual = residual

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        depths = []
        for i, layer in enumerate(self.layers):
            y = torch.tanh(layer(x))
            x = x + y if self.residual and i else y
            depths.append(x)
        return {t: self.heads[t](depths[d]) for t, d in self.reads.items()}, depths[-1]


def mlp(tasks: str = "abc", residual: bool = False, seed: int = 0):
    """A plain trunk: all heads read the last layer."""
    return _make(lambda: Trunked(dict.fromkeys(tasks, 2), residual), seed, single_cut=True)


def multi_depth(seed: int = 0):
    """Heads at three depths: partial sharing, no single representation."""
    return _make(lambda: Trunked({"a": 0, "b": 1, "c": 2, "d": 2}), seed, single_cut=False)


def tied(seed: int = 0):
    """Two heads share one weight beyond the trunk."""

    def build() -> nn.Module:
        net = Trunked(dict.fromkeys("abc", 2))
        net.heads["b"].weight = net.heads["a"].weight
        return net

    return _make(build, seed, single_cut=True)


def convolutional(seed: int = 0):
    """A small residual convolution with a pooled head."""

    class Conv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 4, 3, padding=1)
            self.norm = nn.GroupNorm(2, 4)
            self.last = nn.Conv2d(4, 4, 3, padding=1)
            self.heads = nn.ModuleDict({t: nn.Linear(4, 1) for t in "ab"})

        def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            x = x.reshape(len(x), 1, 1, -1).expand(-1, -1, 5, -1)
            h = torch.relu(self.norm(self.stem(x)))
            h = (h + self.last(h)).mean(dim=(2, 3))
            return {t: head(h) for t, head in self.heads.items()}, h

    return _make(Conv, seed, single_cut=True)


def transformer(seed: int = 0):
    """One encoder layer (norms, attention, feed-forward) read at the first position."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(1, 8)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
            self.heads = nn.ModuleDict({t: nn.Linear(8, 1) for t in "abc"})

        def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            h = self.layer(self.embed(x[:, :, None]))[:, 0]
            return {t: head(h) for t, head in self.heads.items()}, h

    return _make(Net, seed, single_cut=True)


NETS: dict[str, Callable[[], object]] = {
    "mlp": mlp,
    "residual": lambda: mlp(residual=True),
    "multi_depth": multi_depth,
    "tied": tied,
    "convolutional": convolutional,
    "transformer": transformer,
}


def _make(build: Callable[[], nn.Module], seed: int, single_cut: bool):
    torch.manual_seed(seed)
    net = build().double()
    x = torch.randn(12, 5, dtype=torch.float64)
    y = torch.randn(12, 8, dtype=torch.float64)

    def forward() -> tuple[Losses, Tensor | None]:
        outputs, h = net(x)
        scale = {"a": 1.0, "b": 3.0, "c": 0.2, "d": 1.0}
        losses = {
            t: scale.get(t, 1.0) * (out[:, 0] - y[:, i]).square().mean()
            for i, (t, out) in enumerate(outputs.items())
        }
        return losses, h if single_cut else None

    return net, forward


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter's gradient."""
    return {n: p.grad.to_dense().clone() for n, p in net.named_parameters() if p.grad is not None}


def task_gradients(net, forward):
    """Row t: the gradient of task t on every parameter, by one ordinary backward each."""
    rows = {}
    for task in forward()[0]:
        net.zero_grad()
        forward()[0][task].backward()
        rows[task] = gradients(net)
    net.zero_grad()
    return rows


def expected(net, rows, weights, heads):
    """What .grad must be: weights on what two tasks share, 1 or the weight on the rest."""
    out = {}
    for name, _ in net.named_parameters():
        users = [t for t in rows if name in rows[t]]
        shared = len(users) > 1 or heads == "weighted"
        terms = [rows[t][name] * (weights[t] if shared else 1.0) for t in users]
        if terms:
            out[name] = torch.stack(terms).sum(dim=0)
    return out
