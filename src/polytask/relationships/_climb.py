"""Groups of many tasks made better: tasks that move between groups, or change places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from polytask.relationships._columns import Array, Places

Members = NDArray[np.bool_]

STEPS = 200
"""Changes at most."""
LEAST = 1e-9
"""What a change must add, in units of the value and its spread."""


def climb(
    members: Members,
    gains_of: Callable[[Members], Array],
    cost_of: Callable[[Members], Array],
    room: float,
) -> Members:
    """The groups after the best change of one or two of them, again and again.

    A task joins or leaves a group, moves from one to another, or changes places with one of
    another group. Where a budget is just spent only the last two are possible, and an exchange of
    whole groups, one at a time, makes neither.

    Args:
        members: [k, T], groups that serve every task for at most `room`.
        gains_of: what each task gains in groups [n, T] as [T, n], -inf where it cannot be served.
        cost_of: what groups [n, T] cost, [n].
        room: what they may cost together; may be infinite.

    Cost: a few thousand groups are valued at every change.
    """
    gains, costs = gains_of(members), cost_of(members)
    value = float(gains.max(1).sum())
    for _ in range(STEPS):
        first, second, one, other = _changes(members)
        if not len(first):
            break
        spent = costs.sum() - costs[first] - costs[second] + _paid(one, cost_of)
        # A change of one group has it in both places.
        spent += np.where(first == second, costs[first], _paid(other, cost_of))
        fits = np.flatnonzero(spent <= room)
        if not len(fits):
            break
        first, second, one, other = first[fits], second[fits], one[fits], other[fits]
        offers = np.maximum(_others(gains, first, second), gains_of(one))
        values = np.maximum(offers, gains_of(other)).sum(0)
        best = int(values.argmax())
        if not values[best] > value + LEAST * (1.0 + abs(value)):
            break
        members = members.copy()
        members[first[best]], members[second[best]] = one[best], other[best]
        members = members[members.any(1)]
        gains, costs, value = gains_of(members), cost_of(members), float(values[best])
    return members


def _changes(members: Members) -> tuple[Places, Places, Members, Members]:
    """All of them: the places of two groups, [n], and what these become, [n, T]."""
    count, size = members.shape
    eye = np.eye(size, dtype=bool)
    only = members[:, None] & ~members  # [k, k, T]: in the first group and not in the second
    group, task = (place.ravel() for place in np.indices(members.shape))
    giver, taker, moved = np.nonzero(only)
    higher = np.triu(np.ones((count, count), dtype=bool))[:, :, None, None]
    both = only[:, :, :, None] & only.transpose(1, 0, 2)[:, :, None, :] & higher
    one, other, mine, theirs = np.nonzero(both)
    flipped = members[group] ^ eye[task]
    swapped = eye[mine] | eye[theirs]
    return (
        np.concatenate([group, giver, one]),
        np.concatenate([group, taker, other]),
        np.concatenate([flipped, members[giver] ^ eye[moved], members[one] ^ swapped]),
        np.concatenate([flipped, members[taker] ^ eye[moved], members[other] ^ swapped]),
    )


def _paid(groups: Members, cost_of: Callable[[Members], Array]) -> Array:
    """What groups cost; nothing for one that nobody is left in."""
    return np.where(groups.any(1), cost_of(groups), 0.0)


def _others(gains: Array, first: Places, second: Places) -> Array:
    """[T, n]: the best gains in any group but these two."""
    lowest = np.full((len(gains), 1), -np.inf)
    padded = np.concatenate([gains, lowest, lowest, lowest], axis=1)
    order = np.argsort(-padded, axis=1, kind="stable")[:, :3]
    found = np.full((len(gains), len(first)), -np.inf)
    for place in (2, 1, 0):  # the best one last
        which = order[:, place][:, None]
        free = (which != first) & (which != second)
        found = np.where(free, np.take_along_axis(padded, which, axis=1), found)
    return found
