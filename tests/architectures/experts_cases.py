"""Encoders for the tests of mixtures of experts: graphs of rows, tokens embedded by a stage."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures import Staged


class RowsAsNodes(nn.Module):
    """Every row with ink in it is a node; an image is a graph of 6 to 8 nodes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(8, width)

    def forward(self, image: Tensor) -> tuple[Tensor, dict[str, Any]]:
        rows = image.flatten(0, 2)
        kept = rows.sum(dim=1) > 0
        items = torch.arange(len(image)).repeat_interleave(image.shape[2])
        context = {"segments": items[kept], "items": len(image)}
        return torch.tanh(self.layer(rows[kept])), context


class MeanOfNodes(nn.Module):
    """One vector a graph."""

    takes_context = True

    def forward(self, h: Tensor, context: dict[str, Any]) -> Tensor:
        total = h.new_zeros(context["items"], h.shape[1]).index_add(0, context["segments"], h)
        return total / torch.bincount(context["segments"], minlength=context["items"])[:, None]


def graphs(exit: nn.Module | None = None) -> Staged:  # noqa: A002 - as `Staged` calls it
    """Nodes [M, C] with their graph in the context; what comes out has width 10."""
    encoder = Staged(
        [nn.Sequential(nn.Linear(6, 10), nn.Tanh()), nn.Sequential(nn.Linear(10, 10), nn.Tanh())],
        RowsAsNodes(6),
        exit,
        channel_dim=-1,
        widths=(10, 10),
        entrance_width=6,
    )
    encoder.output_size = 10
    return encoder


class Words(nn.Module):
    """The rows of an image as words: the column with most ink."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, 0].argmax(dim=-1)


def words() -> Staged:
    """Embeds in its first stage: what that reads are codes, [N, 8]."""
    stages = [nn.Embedding(8, 6), nn.Sequential(nn.Linear(6, 6), nn.Tanh())]
    return Staged(stages, Words(), channel_dim=-1, widths=(6, 6))


class LearnedContext(nn.Module):
    """The image, and beside it a scale that is learned and that every stage reads."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, image: Tensor) -> tuple[Tensor, dict[str, Any]]:
        return image.flatten(1)[:, :24], {"scale": self.scale}


class Scaled(nn.Module):
    """A layer times what the context holds."""

    takes_context = True

    def __init__(self, before: int) -> None:
        super().__init__()
        self.layer = nn.Linear(before, 6)

    def forward(self, h: Tensor, context: dict[str, Any]) -> Tensor:
        answer: Tensor = torch.tanh(self.layer(h)) * context["scale"]
        return answer


def scaled() -> Staged:
    """Four stages that read a learned context: a way round the features, if one forgets it."""
    stages = [Scaled(24), Scaled(6), Scaled(6), Scaled(6)]
    return Staged(stages, LearnedContext(), widths=(6,) * 4, entrance_width=24)
