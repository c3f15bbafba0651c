"""What a metric needs to know of a task, without knowing `polytask.tasks`."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Subject(Protocol):
    """The part of `polytask.tasks.Task` that metrics read."""

    @property
    def name(self) -> str:
        """The task's name, for messages."""

    @property
    def kind(self) -> str:
        """regression, binary, multiclass, multilabel or custom."""

    @property
    def classes(self) -> tuple[Any, ...]:
        """Labels in code order."""

    @property
    def size(self) -> int:
        """Number of outputs of a regression task."""

    @property
    def mean(self) -> float | tuple[float, ...]:
        """Mean of the training targets."""

    @property
    def std(self) -> float | tuple[float, ...]:
        """Standard deviation of the training targets."""

    def items(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The labelled items of a batch, aligned: outputs `[n, c]`, targets `[n]` or `[n, c]`."""

    def item_losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Losses of labelled items, one per labelled element."""


def unscale(task: Subject, output: Tensor) -> Tensor:
    """Standardised outputs `[..., size]` in the target's own units."""
    std = torch.tensor(task.std, dtype=output.dtype, device=output.device)
    mean = torch.tensor(task.mean, dtype=output.dtype, device=output.device)
    return output * std + mean


def codes(kind: str, logits: Tensor, *, dim: int) -> Tensor:
    """Decisions (int64) from logits whose classes or labels lie along `dim`."""
    if kind == "multiclass":
        return logits.argmax(dim)
    decided = (logits > 0).long()
    return decided.squeeze(dim) if kind == "binary" else decided
