"""Directions in the space of losses, evenly spread over those without a negative part."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import comb, pi

import torch
from torch import Tensor


def directions(tasks: int, count: int) -> Tensor:
    """At least `count` unit vectors of `tasks` parts, shape [n, tasks], float64.

    Two tasks: n = count vectors at equal angles, from the first axis to the second. More: the
    points of the coarsest regular lattice on the simplex that has as many, brought to length 1;
    n is then the lattice's own number. One vector is the diagonal.
    """
    if count == 1 or tasks == 1:
        return torch.full((1, tasks), tasks**-0.5, dtype=torch.float64)
    if tasks == 2:
        angle = torch.linspace(0, pi / 2, count, dtype=torch.float64)
        # A sine of both angles makes the ends exact zeros and the middle exactly even.
        return torch.stack([torch.sin(angle.flip(0)), torch.sin(angle)], dim=1)
    divisions = 1
    while comb(divisions + tasks - 1, tasks - 1) < count:
        divisions += 1
    points = torch.tensor(lattice(tasks, divisions), dtype=torch.float64)
    return points / points.norm(dim=1, keepdim=True)


def lattice(parts: int, divisions: int) -> list[list[int]]:
    """All ways to write `divisions` as a sum of `parts` whole numbers, the first part falling."""
    rows = []
    for bars in combinations(range(divisions + parts - 1), parts - 1):
        ends = (-1, *bars, divisions + parts - 1)
        rows.append([b - a - 1 for a, b in pairwise(ends)])
    return rows[::-1]
