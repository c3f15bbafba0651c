"""Jacobians for the tests of methods that read gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

J2 = torch.tensor([[3.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
J3 = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.5], [0.0, -2.0, 1.0]], dtype=torch.float64)
OPPOSITE = torch.tensor([[1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64)


def near(value, expected, digits=5e-7):
    torch.testing.assert_close(
        torch.as_tensor(value, dtype=torch.float64),
        torch.tensor(expected, dtype=torch.float64),
        atol=digits,
        rtol=0,
    )


def jacobian(seed: int, tasks: int, width: int | None = None) -> Tensor:
    """Rows of very different lengths that often conflict: a random share of their mean is lost."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((tasks, width or tasks + 6))
    rows *= np.exp(rng.standard_normal((tasks, 1)))
    return torch.tensor(rows - rng.uniform(0, 0.9) * rows.mean(axis=0))


KINDS = ("random", "low rank", "equal", "opposite", "one zero", "all zero", "collinear", "spread")


def degenerate(kind: str, seed: int, tasks: int) -> Tensor:
    """Rows of a kind that solvers stumble over, [tasks, n]."""
    rows = jacobian(seed, tasks)
    sign = torch.tensor([(-1.0) ** i for i in range(tasks)], dtype=torch.float64)[:, None]
    if kind == "low rank":
        rows = rows[:, :2]
    elif kind == "equal":
        rows = rows[:1].expand(tasks, -1)
    elif kind == "opposite":
        rows = rows[:1] * sign
    elif kind == "one zero":
        rows = torch.cat([torch.zeros_like(rows[:1]), rows[1:]])
    elif kind == "all zero":
        rows = torch.zeros_like(rows)
    elif kind == "collinear":
        rows = rows[:1] * torch.arange(1.0, tasks + 1, dtype=torch.float64)[:, None]
    elif kind == "spread":
        rows = rows * torch.logspace(-4, 4, tasks, dtype=torch.float64)[:, None]
    return rows
