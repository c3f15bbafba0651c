"""Gradient vaccine."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer

# Pulling a gradient to a cosine of 1 with another takes infinitely much of the other.
HIGHEST_TARGET = 1 - 1e-6
# A squared length below this share of its terms' is what rounding left of a cancelled vector.
CANCELLED = 1e-12


class GradVac(Balancer):
    """Each gradient is pulled up to the cosine that it usually has with each other.

    v <- g_i; for the other tasks j in a fresh random order, with φ = cos(v, g_j) and its
    running mean φ̂ of the pair: if φ < φ̂ then
    v <- v + |v| (φ̂ sqrt(1-φ²) - φ sqrt(1-φ̂²)) / (|g_j| sqrt(1-φ̂²)) g_j, which makes the
    cosine φ̂; then φ̂ <- (1-beta) φ̂ + beta φ. The direction is the sum of the v's (Wang et al.
    2021, https://arxiv.org/abs/2010.05874, algorithm 1). While φ̂ is 0, its start, it is PCGrad.

    Cost: that of the statistic and one backward pass; one number of state for each ordered pair
    of tasks, kept by their names. All of it happens on coefficients of the gradients, O(T³)
    small work. Heads are plain. Deviations: one target a pair over all measured parameters
    (the paper also has one for each layer); targets stop at 1 - 1e-6, and a zero or wholly
    cancelled vector is left alone and teaches nothing. Public code uses beta = 0.5 and divides
    by zero on collinear gradients.

    Args:
        beta: share of a new cosine in the running mean, in [0, 1].
        options: those of every `Balancer`; `generator` makes the orders reproducible.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(self, beta: float = 0.01, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= beta <= 1:
            raise UserError(f"beta must be in [0, 1], found {beta}.")
        self.beta = beta

    def decide(self, statistic: Statistic) -> Tensor:
        """Sum over i of the coefficients of the pulled g_i."""
        g = statistic.need_gramian()
        count = len(g)
        known, rows, targets = self._targets(statistic.tasks, g)
        order = torch.rand(count, count, generator=statistic.generator).argsort(dim=1)
        held = targets[rows][:, rows]
        a, cosines = vaccinate(g, order, held)
        renewed = torch.lerp(held, cosines, self.beta)
        targets[rows[:, None], rows] = torch.where(cosines.isnan(), held, renewed)
        self.table["target", known] = targets
        return a.sum(dim=0)

    def _targets(self, tasks: tuple[str, ...], like: Tensor) -> tuple[str, Tensor, Tensor]:
        """All pairs' running means as one matrix: its name, the rows of `tasks`, its values.

        The entry is named by the tasks of its rows; it grows when a task appears.
        """
        held = next((task for name, task in self.table if name == "target"), "[]")
        names = json.loads(held)
        names += [task for task in tasks if task not in names]
        rows = torch.tensor([names.index(task) for task in tasks])
        targets = torch.zeros(len(names), len(names), dtype=like.dtype)
        if ("target", held) in self.table:
            old = self.table.pop(("target", held))
            targets[: len(old), : len(old)] = old
        return json.dumps(names), rows, targets


def vaccinate(g: Tensor, order: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients of every pulled gradient, row i for g_i, and the cosines that were met.

    Args:
        g: Gramian, [T, T].
        order: row i is the order in which g_i meets the others (its own index is passed over).
        targets: the cosine that g_i shall have with g_j at least, [T, T].

    Returns:
        coefficients [T, T] and cosines [T, T]; NaN where no cosine is defined or met.
    """
    count = len(g)
    own = torch.arange(count)
    size = g.diagonal().clamp_min(0).sqrt()
    a = torch.eye(count, dtype=g.dtype)
    onto = g.clone()  # row i: products of v_i with every g_j
    cosines = torch.full_like(g, torch.nan)
    for j in order.T:
        # Row i meets task j[i]; all rows take their k-th encounter at once.
        square = (a * onto).sum(dim=1)
        terms = (a.abs() @ size).square()
        defined = (square > CANCELLED * terms) & (size[j] > 0) & (j != own)
        length = torch.where(defined, square, 1.0).sqrt()
        cosine = (onto[own, j] / (length * torch.where(size[j] > 0, size[j], 1.0))).clamp(-1, 1)
        cosines[own, j] = torch.where(defined, cosine, torch.nan)
        target = targets[own, j].clamp(max=HIGHEST_TARGET)
        lift = target * (1 - cosine.square()).sqrt() / (1 - target.square()).sqrt() - cosine
        pulled = defined & (cosine < target)
        step = torch.where(pulled, length * lift / torch.where(defined, size[j], 1.0), 0.0)
        a[own, j] += step
        onto += step[:, None] * g[j]
    return a, cosines
