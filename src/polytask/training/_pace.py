"""Self-paced weights: which examples of a task take part, from the losses that they have now."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from polytask.tasks import LossResult, Task
from polytask.training._forward import Labels


def paced_weights(losses: Tensor, threshold: float, sparsity: float) -> Tensor:
    """The weights in [0, 1] that minimise sum_j w_j (L_j - threshold) + sparsity * ||w||_2.

    The problem is convex. With a_j = max(0, threshold - L_j), largest first, its optimality
    conditions say w_j = min(1, a_j ||w|| / sparsity). So all are 0 when ||a|| <= sparsity.
    Otherwise the k easiest have weight 1, and ||w||^2 = k / (1 - S_k / sparsity^2), where S_k is
    the sum of a_j^2 over the others; k is the largest number with k a_k^2 + S_k >= sparsity^2,
    whose left side falls with k.

    Args:
        losses: `[n]`, not NaN; an infinite one has weight 0.
        threshold: from which loss on an example takes no part.
        sparsity: how much a task must have to gain to take part at all; 0 for no such term, which
            leaves weights of 0 and 1.

    Returns:
        `[n]`, float64, in the order of the losses.

    Cost: one sort.

    >>> paced_weights(torch.tensor([0.0, 0.4, 2.0]), threshold=1.0, sparsity=1.0)
    tensor([1.0000, 0.7500, 0.0000], dtype=torch.float64)
    """
    margins = (threshold - losses.double()).clamp(min=0)
    if sparsity == 0:
        return (margins > 0).double()
    squares = margins.square()
    if float(squares.sum()) <= sparsity**2:
        return torch.zeros_like(margins)
    ranked = squares.sort(descending=True).values
    # Sums from the small end: behind the last margin above 0 they are exactly 0.
    behind = torch.cat([ranked.flip(0).cumsum(0).flip(0)[1:], ranked.new_zeros(1)])
    places = torch.arange(1, len(ranked) + 1, dtype=torch.float64, device=ranked.device)
    full = max(1, int((places * ranked + behind >= sparsity**2).sum()))
    steepness = math.sqrt(full / (sparsity**2 - float(behind[full - 1])))
    return (margins * steepness).clamp(max=1)


def element_losses(task: Task, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Losses of the labelled elements of a batch, and in which row each is: `[m]` both."""
    rows = task.labelled(target).nonzero()[:, 0]
    items, labels = task.items(output, target)
    if not len(labels):
        return output.new_zeros(0), rows
    losses = task.item_losses(items, labels)
    if task.kind in ("regression", "multilabel"):
        # An item of several outputs or labels has an element for each that is there.
        rows = rows.repeat_interleave((~labels.isnan()).reshape(len(labels), -1).sum(1))
    return losses, rows


def row_losses(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """The mean loss of the labelled elements of every row: `[N]` float64, NaN without any.

    A loss that is not a number counts as infinite.
    """
    losses, rows = element_losses(task, output, target)
    usable = losses.double().nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    total = torch.zeros(len(target), dtype=torch.float64, device=output.device)
    total = total.index_add(0, rows, usable)
    return total / torch.bincount(rows, minlength=len(target))


def paced_loss(task: Task, output: Tensor, target: Tensor, weights: Tensor) -> LossResult:
    """The mean of weight times loss over the labelled elements of a batch.

    `weights` are by row. The count is 0, as for a task without labels, when no element takes part.
    """
    losses, rows = element_losses(task, output, target)
    own = weights.to(losses.dtype)[rows]
    if not bool((own > 0).any()):
        return LossResult(output.sum() * 0, 0)
    return LossResult((own * losses).mean(), losses.numel())


class PacedLabels(Labels):
    """Losses on labels, each row's times its weight."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights

    def loss(self, task: Task, output: Tensor, target: Tensor) -> LossResult:
        """The weighted loss of a task's output."""
        return paced_loss(task, output, target, self.weights[task.name])

    def answer_loss(self, task: Task, output: Tensor, target: Tensor) -> LossResult:
        """The weighted loss of an early answer."""
        return self.loss(task, output, target)
