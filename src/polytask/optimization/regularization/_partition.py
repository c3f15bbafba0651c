"""Points in clusters, without chance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDS = 100
SAME = 1e-6
"""Points nearer than this share of the longest point are one: rounding, not a difference."""


def partition(products: Tensor, clusters: int) -> Tensor:
    """The cluster of each of K points, int64 [K], numbered in the order of their first points.

    `products` are the points' inner products, float64 [K, K]. k-means (Lloyd) from K starts: each
    point in turn is the first centre, and every further centre is the point farthest from those
    there are; the partition with the least sum of squares is taken, the first of equals. There
    are fewer clusters than asked for where there are fewer different points.
    """
    values, vectors = torch.linalg.eigh(products)
    points = vectors * values.clamp(min=0).sqrt()
    apart = torch.cdist(points, points)
    apart[apart <= SAME * points.norm(dim=1).max()] = 0
    best, least = torch.zeros(len(points), dtype=torch.int64), torch.inf
    for first in range(len(points)):
        labels = _lloyd(points, _spread_out(apart, first, clusters))
        squares = float((points - _centres(points, labels)[labels]).square().sum())
        if squares < least * (1 - 1e-9):
            best, least = labels, squares
    return _in_order(best)


def _spread_out(apart: Tensor, first: int, clusters: int) -> list[int]:
    """The first point and those farthest from what was chosen before."""
    chosen = [first]
    while len(chosen) < clusters:
        nearest = apart[:, chosen].amin(dim=1)
        if not bool(nearest.max() > 0):
            break
        chosen.append(int(nearest.argmax()))
    return chosen


def _lloyd(points: Tensor, chosen: list[int]) -> Tensor:
    """The partition at which the rounds come to rest."""
    centres = points[chosen]
    labels = torch.cdist(points, centres).argmin(dim=1)
    for _ in range(ROUNDS):
        # An empty cluster has no centre and is dropped.
        labels = _in_order(labels)
        found = torch.cdist(points, _centres(points, labels)).argmin(dim=1)
        if found.equal(labels):
            break
        labels = found
    return _in_order(labels)


def _centres(points: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([points[labels == label].mean(dim=0) for label in labels.unique()])


def _in_order(labels: Tensor) -> Tensor:
    """The same partition, numbered from 0 in the order of first points."""
    known: dict[int, int] = {}
    return torch.tensor([known.setdefault(label, len(known)) for label in labels.tolist()])


def nearest(products: Tensor, point: int, others: Sequence[int], labels: Tensor) -> int:
    """The cluster whose centre is nearest to a point, by the inner products of all points.

    `labels` are the clusters of `others`; of equally near ones the first.
    """
    distances = {}
    for label in labels.unique().tolist():
        inside = [other for other, own in zip(others, labels.tolist(), strict=True) if own == label]
        # ||x - c||^2 without ||x||^2, which is the same for all centres c.
        distances[label] = float(
            products[inside][:, inside].mean() - 2 * products[point, inside].mean()
        )
    return int(min(distances, key=distances.__getitem__))
