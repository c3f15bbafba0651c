"""What a task answered, embedded and added to the features that the next tasks read."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from polytask.architectures._heads import Output, resized
from polytask.architectures._layout import Context, along, pooled

Reading = Literal["classes", "labels", "numbers"]
"""How an output is read: one of its classes, each label by itself, or as the numbers they are."""


def reading(kind: str | None, size: int) -> Reading:
    """By the kind of the task; without one several outputs are classes, a single one a number."""
    if kind in ("binary", "multilabel"):
        return "labels"
    if kind in ("regression", "custom"):
        return "numbers"
    return "classes" if kind == "multiclass" or size > 1 else "numbers"


class LabelEmbedding(nn.Module):
    """The expected embedding of an output's label: sum over classes of probability times vector.

    A linear map, from 0, of probabilities ("classes": softmax, "labels": sigmoid) or of the
    outputs themselves ("numbers").
    """

    def __init__(self, output: Output, width: int, read: Reading) -> None:
        super().__init__()
        self.embedding = nn.Linear(output.size, width, bias=False)
        nn.init.zeros_(self.embedding.weight)
        self.read = read

    def forward(self, output: Tensor) -> Tensor:
        """Answer [N, ..., width] for an output [N, size, ...]."""
        if self.read == "classes":
            output = output.softmax(dim=1)
        elif self.read == "labels":
            output = output.sigmoid()
        embedded: Tensor = self.embedding(output.movedim(1, -1))
        return embedded


def added(h: Tensor, label: Tensor, channel_dim: int, context: Context) -> Tensor:
    """Features plus a label, [N, ..., width]: place by place, or the same everywhere.

    Another resolution is resized; labels of places are averaged where features have none.
    """
    segments = context.get("segments")
    if segments is not None and len(h) == len(segments) and len(label) != len(h):
        return h + label[segments]
    if h.dim() == 2 or label.dim() == 2:
        return h + along(pooled(label, -1), h, channel_dim)
    places = h.shape[2:] if channel_dim == 1 else h.shape[1:-1]
    label = resized(label.movedim(-1, 1), places, channel_dim)
    return h + (label if channel_dim == 1 else label.movedim(1, -1))
