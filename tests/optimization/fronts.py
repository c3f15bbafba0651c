"""Two problems of two losses whose Pareto fronts are known, one bent out and one bent in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SIZE = 20
GOAL = torch.full((SIZE,), SIZE**-0.5, dtype=torch.float64)


def concave(x: Tensor) -> Tensor:
    """Fonseca and Fleming's: 1 - exp(-|x - goal|²) and 1 - exp(-|x + goal|²)."""
    return 1 - torch.exp(-torch.stack([(x - GOAL).square().sum(), (x + GOAL).square().sum()]))


def convex(x: Tensor) -> Tensor:
    """Squared distances of the same two points, a quarter each."""
    return torch.stack([(x - GOAL).square().sum(), (x + GOAL).square().sum()]) / 4


PROBLEMS = {"concave": concave, "convex": convex}


def front(problem, count: int = 2001) -> np.ndarray:
    """Points of the Pareto front, [count, 2]: x runs on the segment between the two goals."""
    along = torch.linspace(-1, 1, count, dtype=torch.float64)
    return torch.stack([problem(share * GOAL) for share in along]).numpy()


def start(seed: int = 0) -> Tensor:
    """A point off the front."""
    return torch.tensor(np.random.default_rng(seed).uniform(-0.5, 0.5, SIZE))


def descend(method, problem, seed: int = 0, steps: int = 200, rate: float = 0.3) -> np.ndarray:
    """Train by a method that reads the Gramian and the losses; the losses at the end.

    The steps shorten, since weights that jump between two vertices settle only then.
    """
    x = start(seed)
    for i in range(steps):
        x.requires_grad_()
        losses = problem(x)
        first = torch.autograd.grad(losses[0], x, retain_graph=True)[0]
        rows = torch.stack([first, torch.autograd.grad(losses[1], x)[0]])
        x = x.detach()
        weights = method.weights(rows @ rows.T, losses.detach())
        x = x - rate * min(1.0, 3 * (1 - i / steps)) * (rows.T @ weights)
        if i % 20 == 19:
            method.observe(epoch=i // 20)
    return problem(x).numpy()


def gap(point: np.ndarray, curve: np.ndarray) -> float:
    """Distance of a point from a front."""
    return float(np.linalg.norm(curve - point, axis=1).min())
