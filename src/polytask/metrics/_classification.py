"""From counts, scores and losses over labelled items to classification scores: pure functions.

A mean over classes or labels is taken over those for which the score exists: classes that occur
(balanced accuracy, AUROC, average precision), or that occur or are predicted (F1, IoU; as
scikit-learn and torchmetrics do). When none is left, or only one class occurs, it is undefined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from polytask.metrics._undefined import NO_LABEL, NO_POSITIVE, ONE_CLASS, Undefined


class Counts(NamedTuple):
    """Per class, or per label of a multilabel task (float64 `[k]`): one against the rest."""

    hit: Tensor
    false_alarm: Tensor
    miss: Tensor
    correct_rejection: Tensor
    several: bool
    """Whether the task is multilabel: every label is a problem of its own."""

    @property
    def gap(self) -> Undefined | None:
        """Why a score that needs two classes (or a positive label) has no value."""
        occurs = self.hit + self.miss
        if not bool((occurs + self.false_alarm + self.correct_rejection).any()):
            return NO_LABEL
        if self.several:
            return None if bool(occurs.any()) else NO_POSITIVE
        return None if int((occurs > 0).sum()) > 1 else ONE_CLASS


def accuracy(counts: Counts) -> float | Undefined:
    """Share of labelled items (multilabel: of labelled elements) that are right."""
    right = counts.hit.sum()
    total = (counts.hit + counts.miss).sum()
    if counts.several:
        right = right + counts.correct_rejection.sum()
        total = total + (counts.false_alarm + counts.correct_rejection).sum()
    return (right / total).item() if bool(total > 0) else NO_LABEL


def balanced_accuracy(counts: Counts) -> float | Undefined:
    """Mean over the classes that occur of the share of their items that are found."""
    if counts.gap is not None:
        return counts.gap
    occurs = counts.hit + counts.miss
    return (counts.hit / occurs)[occurs > 0].mean().item()


def _overlap(counts: Counts, hits: int) -> Tensor:
    """`hits` x hit / (`hits` x hit + wrong) of every class that occurs or is predicted."""
    wrong = counts.false_alarm + counts.miss
    whole = hits * counts.hit + wrong
    return (hits * counts.hit / whole)[whole > 0]


def macro_f1(counts: Counts) -> float | Undefined:
    """Mean F1 over classes or labels, each counting the same."""
    return _overlap(counts, 2).mean().item() if counts.gap is None else counts.gap


def mean_iou(counts: Counts) -> float | Undefined:
    """Mean over classes of intersection over union, the usual score of segmentation."""
    return _overlap(counts, 1).mean().item() if counts.gap is None else counts.gap


def micro_f1(counts: Counts) -> float | Undefined:
    """F1 of all classes' or labels' decisions together (multiclass: equals the accuracy)."""
    if not counts.several:
        return accuracy(counts)
    if counts.gap is not None:
        return counts.gap
    twice = 2 * counts.hit.sum()
    return (twice / (twice + counts.false_alarm.sum() + counts.miss.sum())).item()


def f1(counts: Counts) -> float | Undefined:
    """F1 of the second class of a binary task."""
    if counts.gap is not None:
        return counts.gap
    twice = 2 * counts.hit[1]
    return (twice / (twice + counts.false_alarm[1] + counts.miss[1])).item()


class Scores(NamedTuple):
    """Every labelled item's scores (float64) and 0/1 labels with NaN missing, both `[n, c]`.

    One column for a binary task, one per class (one against the rest), one per label.
    """

    scores: Tensor
    labels: Tensor


def _per_column(rank: Callable[[Tensor, Tensor], Tensor], scores: Scores) -> float | Undefined:
    """Mean over the columns in which both a 0 and a 1 are labelled.

    Ranking metrics depend on the order alone, so the scores are replaced by their ranks in [0, 1]:
    torchmetrics would squash logits outside [0, 1] and tie those that saturate.
    """
    values = []
    labelled = ~scores.labels.isnan()
    for column, mask in enumerate(labelled.unbind(1)):
        label = scores.labels[mask, column].long()
        if label.numel() == 0 or label.min() == label.max():
            continue
        order = torch.unique(scores.scores[mask, column], return_inverse=True)[1].double()
        values.append(rank(order / order.max().clamp(min=1), label).item())
    if values:
        return sum(values) / len(values)
    return ONE_CLASS if bool(labelled.any()) else NO_LABEL


def auroc(scores: Scores) -> float | Undefined:
    """Area under the ROC curve; several classes or labels: mean of one against the rest."""
    from torchmetrics.functional.classification import binary_auroc

    return _per_column(binary_auroc, scores)


def average_precision(scores: Scores) -> float | Undefined:
    """Area under the precision-recall curve (step rule); mean as for `auroc`."""
    from torchmetrics.functional.classification import binary_average_precision

    return _per_column(binary_average_precision, scores)


class Total(NamedTuple):
    """Sum of per-element losses (float64) and their number."""

    value: Tensor
    n: Tensor


def mean_loss(total: Total) -> float | Undefined:
    """Mean over the labelled elements."""
    return (total.value / total.n).item() if bool(total.n > 0) else NO_LABEL
