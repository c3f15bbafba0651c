"""Records of gradients whose truth is known: noise, halves and products made from numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def record(products: Any, norms: Any = None, tasks: str = "ab", statistic: str = "tail") -> Any:
    """A record of tables [S, T, T] (symmetric)."""
    tables = np.asarray(products, dtype=float)
    i, j = np.triu_indices(len(tasks))
    lengths = np.ones(tables.shape[:2]) if norms is None else np.asarray(norms, dtype=float)
    return {
        "tasks": list(tasks),
        "statistic": statistic,
        "products": [[None if np.isnan(v) else v for v in table[i, j]] for table in tables],
        "norms": [[None if np.isnan(v) else v for v in row] for row in lengths],
    }


def noisy(
    draw: np.random.Generator,
    truth: Array,
    *,
    noise: float,
    steps: int = 60,
    freedom: float = 3.0,
    shared: float = 0.5,
) -> Any:
    """Gradients `truth` [T, n] seen through halves of batches.

    The noise of a half has `noise` times the length of each gradient, correlates by `shared`
    between tasks, and its size is Student's with `freedom`, drawn for each task and half alone.
    """
    tasks, width = truth.shape
    lengths = np.linalg.norm(truth, axis=1)
    mixing = np.linalg.cholesky(np.full((tasks, tasks), shared) + (1 - shared) * np.eye(tasks))
    halves = []
    for _ in range(2):
        plain = mixing @ draw.normal(size=(steps, tasks, width)) / np.sqrt(width)
        size = np.sqrt(freedom / draw.chisquare(freedom, size=(steps, tasks, 1)))
        halves.append(truth + noise * lengths[:, None] * plain * size)
    one, other = halves
    products = one @ other.transpose(0, 2, 1)
    products = (products + products.transpose(0, 2, 1)) / 2
    norms = np.sqrt(((one**2).sum(2) + (other**2).sum(2)) / 2)
    scaled = products / norms[:, :, None] / norms[:, None, :]
    return record(scaled, norms, tasks="abcdefg"[:tasks])


def pair(cosine: float, width: int = 80, ratio: float = 5.0) -> Array:
    """Two gradients with this cosine, the second `ratio` times as long."""
    found = np.zeros((2, width))
    found[0, 0] = 1.0
    found[1, :2] = cosine, np.sqrt(1 - cosine**2)
    return found * np.array([[1.0], [ratio]])
