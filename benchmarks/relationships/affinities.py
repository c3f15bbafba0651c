"""Tables of affinities to group: random ones of several kinds, and published ones, enlarged."""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polytask.relationships import Affinity

PUBLISHED = Path(__file__).parents[2] / "tests" / "relationships" / "published_groups.py"
BLOCKS = 5
KINDS = {
    "symmetric": "normal, the same in both directions",
    "asymmetric": "normal, directions independent",
    "blocks": "five blocks of tasks that gain 1 from each other, noise 0.3",
    "factors": "inner products of three random factors, noise 0.5",
    "missing": "normal, one pair in ten unknown",
    "ties": "-1, 0 or 1",
    "alone": "normal, a task alone is worth 0",
    "taskonomy": "the 5 published affinities of Taskonomy, tasks repeated, noise of a tenth",
    "celeba": "the 9 published affinities of CelebA, tasks repeated, noise of a tenth",
}


@dataclass(frozen=True)
class Case:
    """A table, and what a task alone is worth in it."""

    affinity: Affinity
    alone: float | None = None


def case(kind: str, tasks: int, seed: int) -> Case:
    """A table of one of `KINDS`, the same for the same seed."""
    draw = np.random.default_rng([tasks, seed])
    values = draw.normal(size=(tasks, tasks))
    if kind == "symmetric":
        values = (values + values.T) / 2
    elif kind == "blocks":
        place = draw.permutation(np.arange(tasks) % BLOCKS)
        values = (place[:, None] == place[None]) + 0.3 * values
    elif kind == "factors":
        factors = draw.normal(size=(tasks, 3))
        values = factors @ factors.T + 0.5 * values
    elif kind == "missing":
        values[draw.random((tasks, tasks)) < 0.1] = np.nan
    elif kind == "ties":
        values = draw.integers(-1, 2, (tasks, tasks)).astype(float)
    elif kind in ("taskonomy", "celeba"):
        table = np.array(
            runpy.run_path(str(PUBLISHED))[{"taskonomy": "TASKONOMY5"}.get(kind, "CELEBA9")]
        )
        places = np.arange(tasks) % len(table)
        values = table[np.ix_(places, places)] * (1 + 0.1 * values)
    names = tuple(f"t{place:02}" for place in range(tasks))
    return Case(Affinity(names, values), 0.0 if kind == "alone" else None)
