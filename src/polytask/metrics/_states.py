"""What is accumulated, as torchmetrics states, so that ranks are reduced by torchmetrics.

The only module that imports torchmetrics when it is imported; it is itself imported on first use.
Each state answers `compute()` with what `_regression` and `_classification` turn into scores:
undefined cases are decided there, after the reduction, so that every rank decides alike.
All sums are float64. Inputs are labelled items as `Task.items` returns them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torchmetrics
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multilabel_confusion_matrix,
)
from torchmetrics.utilities import dim_zero_cat

from polytask.metrics import _angle as angle
from polytask.metrics._classification import Counts, Scores, Total
from polytask.metrics._regression import Moments
from polytask.metrics._subject import Subject, codes, unscale


class State(torchmetrics.Metric, ABC):
    """Something accumulated for one task, summed or gathered over ranks by torchmetrics.

    `summary()` is read inside `sync_context()`: torchmetrics' own `compute` would squeeze tensors
    of one element and warn when no batch came, which is normal here.
    """

    full_state_update = False

    def __init__(self, task: Subject) -> None:
        super().__init__()
        self.task = task

    @abstractmethod
    def update(self, output: Tensor, target: Tensor) -> None:
        """Take labelled items."""

    @abstractmethod
    def summary(self) -> Any:
        """What was accumulated, on this rank or, synchronised, on all."""

    def compute(self) -> Any:
        """The same, as torchmetrics' name."""
        return self.summary()


class MomentState(State):
    """Sums behind every regression score. Memory: a few numbers per output."""

    sums: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, task: Subject) -> None:
        super().__init__(task)
        wide, size = torch.float64, task.size
        self.add_state("sums", torch.zeros(8, size, dtype=wide), dist_reduce_fx="sum")
        self.add_state("low", torch.full((2, size), torch.inf, dtype=wide), dist_reduce_fx="min")
        self.add_state("high", torch.full((2, size), -torch.inf, dtype=wide), dist_reduce_fx="max")

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take labelled items `[n, size]`; NaN in `target` marks a missing element."""
        # Centring both on the training mean keeps sums of squares from swallowing the variance.
        mean = torch.tensor(self.task.mean, dtype=torch.float64, device=output.device)
        present = ~target.isnan()
        t = torch.where(present, target.double() - mean, 0.0)
        p = torch.where(present, unscale(self.task, output.double()) - mean, 0.0)
        e = p - t
        terms = [present.double(), e * e, e.abs(), t, t * t, p, p * p, t * p]
        self.sums += torch.stack([term.sum(0) for term in terms])
        if output.shape[0]:
            both, mask = torch.stack([t, p]), present.expand(2, *present.shape)
            self.low = torch.minimum(self.low, both.where(mask, torch.inf).amin(1))
            self.high = torch.maximum(self.high, both.where(mask, -torch.inf).amax(1))

    def summary(self) -> Moments:
        """The sums over everything seen."""
        n, squared, absolute, t, tt, p, pp, tp = self.sums.unbind(0)
        varies = self.high > self.low
        return Moments(n, squared, absolute, t, tt, p, pp, tp, varies[0], varies[1])


class AngleState(State):
    """Sum and number of angles between predicted and true directions, in target units."""

    degrees: Tensor
    count: Tensor

    def __init__(self, task: Subject) -> None:
        super().__init__(task)
        self.add_state("degrees", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take labelled items `[n, size]`; a target that lacks an element, or is 0, has none."""
        known = target.isfinite().all(1) & (target != 0).any(1)
        predicted = unscale(self.task, output[known].double())
        self.degrees += angle.between(predicted, target[known].double()).sum()
        self.count += known.sum()

    def summary(self) -> angle.Angles:
        """Everything seen."""
        return angle.Angles(self.degrees, self.count, self.task.size)


class CountState(State):
    """Confusion counts: `[k, k]` (labels in rows), multilabel `[k, 2, 2]`."""

    matrix: Tensor

    def __init__(self, task: Subject) -> None:
        super().__init__(task)
        self.classes = len(task.classes)
        tail = (2, 2) if task.kind == "multilabel" else (self.classes,)
        matrix = torch.zeros(self.classes, *tail, dtype=torch.int64)
        self.add_state("matrix", matrix, dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take labelled items as logits; the decision is the largest, or above zero."""
        predicted = codes(self.task.kind, output, dim=-1)
        if self.task.kind == "multilabel":
            label = torch.where(target.isnan(), -100, target).long()
            self.matrix += multilabel_confusion_matrix(
                predicted, label, self.classes, ignore_index=-100, validate_args=False
            )
        else:
            self.matrix += multiclass_confusion_matrix(
                predicted, target, self.classes, validate_args=False
            )

    def summary(self) -> Counts:
        """One against the rest, per class or label."""
        matrix = self.matrix.double()
        if self.task.kind == "multilabel":
            (rejection, alarm), (miss, hit) = matrix.permute(1, 2, 0)
            return Counts(hit, alarm, miss, rejection, True)
        hit = matrix.diagonal()
        alarm, miss = matrix.sum(0) - hit, matrix.sum(1) - hit
        return Counts(hit, alarm, miss, matrix.sum() - hit - alarm - miss, False)


class ScoreState(State):
    """All scores and labels: ranking metrics need them all. Memory: 16 bytes per item and class."""

    scores: Any
    labels: Any

    def __init__(self, task: Subject) -> None:
        super().__init__(task)
        self.columns = 1 if task.kind == "binary" else len(task.classes)
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")
        # A rank without items must still gather tensors of the same shape and type.
        empty = torch.empty(0, self.columns, dtype=torch.float64)
        self.scores.append(empty)
        self.labels.append(empty)

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take labelled items; several classes are ranked by probability, each against the rest."""
        scores = output.double()
        if self.task.kind == "multiclass":
            scores = scores.log_softmax(-1)
            target = one_hot(target, self.columns)
        self.scores.append(scores)
        self.labels.append(target.double().reshape(-1, self.columns))

    def summary(self) -> Scores:
        """Everything seen, `[n, columns]`."""
        return Scores(dim_zero_cat(self.scores), dim_zero_cat(self.labels))


class LossState(State):
    """Sum of per-element losses in float64: cross-entropy, or a custom task's own loss."""

    value: Tensor
    count: Tensor

    def __init__(self, task: Subject) -> None:
        super().__init__(task)
        self.add_state("value", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take labelled items."""
        if output.shape[0] == 0:
            return
        losses = self._losses(output, target)
        self.value += losses.double().sum()
        self.count += losses.numel()

    def _losses(self, output: Tensor, target: Tensor) -> Tensor:
        kind = self.task.kind
        if kind == "custom":
            return self.task.item_losses(output, target)
        if kind == "multiclass":
            return cross_entropy(output.double(), target, reduction="none")
        target = target.double().reshape(output.shape)
        present = ~target.isnan()
        return binary_cross_entropy_with_logits(
            output.double()[present], target[present], reduction="none"
        )

    def summary(self) -> Total:
        """Sum and number."""
        return Total(self.value, self.count)


class ItemState(State):
    """All labelled items, for a metric that is the user's own function."""

    outputs: Any
    targets: Any

    def __init__(self, task: Subject) -> None:
        super().__init__(task)
        self.add_state("outputs", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, output: Tensor, target: Tensor) -> None:
        """Keep the items; regression outputs in target units."""
        if self.task.kind == "regression":
            output = unscale(self.task, output)
            if self.task.size == 1:
                output, target = output[..., 0], target[..., 0]
        elif self.task.kind == "binary":
            output = output[..., 0]
        self.outputs.append(output)
        self.targets.append(target)

    def summary(self) -> tuple[Tensor, Tensor] | None:
        """All outputs and all targets, or None when nothing is labelled."""
        if isinstance(self.outputs, list) and not self.outputs:
            return None
        outputs, targets = dim_zero_cat(self.outputs), dim_zero_cat(self.targets)
        return (outputs, targets) if len(targets) else None
