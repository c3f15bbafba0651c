"""The trade-offs that are asked for: preferences spread over the simplex, as a method's arguments.

A preference says how much each task counts: positive numbers with sum 1. Each method gets it in
its own words; one that takes directions of losses gets the reciprocals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from polytask.errors import UserError, unknown
from polytask.optimization.gradients._directions import lattice
from polytask.study.settings import Choice, choose

EDGE = math.pi / 20
"""How far the outermost preferences of two tasks are from counting one task alone, an angle."""
SMOOTH = 0.1
"""`mu` of stch where nobody says another: small enough that the worst task decides."""
WORDS = {
    "epo": ("preference",),
    "linear": ("weights",),
    "pareto_mtl": ("preference", "preferences"),
    "stch": ("preference", "normalization"),
}
"""Methods that go to a trade-off that is asked for, and their arguments that say which."""


@dataclass(frozen=True)
class Point:
    """One trade-off: how much each task counts, and the method that is told so."""

    preference: dict[str, float]
    choice: Choice


def choose_method(raw: object) -> Choice:
    """The method of all points. Raises `UserError` for one that takes no preference."""
    items = list(raw) if isinstance(raw, list | tuple) else [raw]
    if len(items) != 1:
        raise UserError(
            f"method: expected one, found {len(items)}. Trace a front by one method, and run "
            "polytask.pareto again for another."
        )
    found = choose("method", items[0])
    if found.name not in WORDS:
        raise unknown("method that takes a preference:", found.name, WORDS)
    for word in WORDS[found.name]:
        if word in found.arguments:
            raise UserError(
                f"method {found.name}: {word} is what the study varies, so it cannot be given. "
                "Leave it out, and say how many points there should be."
            )
    return found


def preferences(tasks: Sequence[str], count: int) -> list[dict[str, float]]:
    """Preferences spread over the simplex, none of them 0; the tasks' sum is 1.

    Two tasks: `count` at equal angles, from mostly the first to mostly the second. More: the inner
    points of the coarsest regular lattice that has at least `count`. One: equal parts.
    """
    size = len(tasks)
    if count == 1:
        rows = [[1.0] * size]
    elif size == 2:
        step = (math.pi / 2 - 2 * EDGE) / (count - 1)
        angles = [EDGE + step * i for i in range(count)]
        rows = [[math.cos(a), math.sin(a)] for a in angles]
    else:
        divisions = 1
        while math.comb(divisions + size - 1, size - 1) < count:
            divisions += 1
        rows = [[n + 0.5 for n in row] for row in lattice(size, divisions)]
    # Rounded, so that names of folders and hashes do not depend on the last bit of a sine.
    return [
        {task: round(part / sum(row), 6) for task, part in zip(tasks, row, strict=True)}
        for row in rows
    ]


def points(method: Choice, tasks: Sequence[str], count: int) -> tuple[Point, ...]:
    """The method at every preference."""
    every = preferences(tasks, count)
    return tuple(Point(one, _told(method, one, every)) for one in every)


def middle(found: Sequence[Point]) -> int:
    """The place of the preference that is nearest to equal parts; of equally near, the first."""
    return min(range(len(found)), key=lambda i: max(found[i].preference.values()))


def criterion(point: Point) -> dict[str, dict[str, float]]:
    """What a point asks for, as a rule of `polytask.training.selection` over validation losses.

    Of `linear` the sum of preference times loss, which it minimises; of the others the largest of
    preference times loss (the weighted Chebyshev distance from 0), as they go to the trade-off at
    which these are equal. Losses are as the methods get them: those of regressions standardised,
    and scaled no further.
    """
    word = "weighted_loss" if point.choice.name == "linear" else "worst_loss"
    return {word: point.preference}


def _told(method: Choice, one: dict[str, float], every: list[dict[str, float]]) -> Choice:
    own: dict[str, Any] = {"preference": one}
    if method.name == "linear":
        own = {"weights": one}
    elif method.name == "stch":
        size = len(one)
        scaled = {task: part * size for task, part in one.items()}
        own = {"mu": SMOOTH, "normalization": "none", "preference": scaled}
    elif method.name == "pareto_mtl":
        # Who counts more ends with less loss, and vectors are directions of losses.
        vectors = [{task: 1 / part for task, part in row.items()} for row in every]
        own = {"preference": every.index(one), "preferences": vectors}
    return Choice(method.name, {**own, **method.arguments}, method.source)
