"""Groups of many tasks: candidates by a beam search, and a bound on what any answer is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polytask.relationships._selection import Array

Members = NDArray[np.bool_]

WIDTH = 48
"""Partial answers that the search keeps."""


def beam_groups(values: Array, alone: Array, most: int) -> Members:
    """Groups worth a look, [n, T]: of the beam, their neighbours, and each task's best companions.

    The tasks are placed one by one, those with the strongest ties first, into one of the groups
    begun or a new one; the partial answers with the largest sums of values go on.
    """
    size = len(values)
    both, lone = _filled(values, alone)
    states = np.zeros((1, most, size), dtype=bool)
    totals = np.zeros((1, most))
    for task in np.argsort(-both.max(1), kind="stable"):
        counts = states.sum(2)
        # Only the first of the empty groups: they are all alike.
        begun = (counts > 0) | (np.cumsum(counts == 0, axis=1) == 1)
        added = totals + states @ both[task]
        before, after = _worth(totals, counts, states, lone), added / np.maximum(counts, 1)
        after = np.where(counts == 0, lone[task], after)
        offers = before.sum(1)[:, None] - before + after
        offers = np.where(begun, offers, -np.inf).ravel()
        keep = np.argsort(-offers, kind="stable")[:WIDTH]
        keep = keep[np.isfinite(offers[keep])]
        parent, place = keep // most, keep % most
        states, totals = states[parent].copy(), totals[parent].copy()
        rows = np.arange(len(keep))
        totals[rows, place] = added[parent, place]
        states[rows, place, task] = True
    found = states.reshape(-1, size)
    found = np.unique(found[found.any(1)], axis=0)
    eye = np.eye(size, dtype=bool)
    every = np.ones((1, size), dtype=bool)
    parts = [found, neighbours(found), _companions(values), every, eye]
    return np.unique(np.concatenate(parts), axis=0)


def neighbours(groups: Members) -> Members:
    """Groups with one task more or less, or one in the place of another."""
    size = groups.shape[1]
    eye = np.eye(size, dtype=bool)
    flipped = (groups[:, None] ^ eye).reshape(-1, size)
    swapped = [
        np.unique((group ^ eye[group][:, None] ^ eye[~group][None]).reshape(-1, size), axis=0)
        for group in groups[:WIDTH]
    ]
    found = np.unique(np.concatenate([groups, flipped, *swapped]), axis=0)
    return found[found.any(1)]


def upper_bound(values: Array, alone: Array, most: int) -> float:
    """No answer's sum of values is larger.

    In a group of s a task gets at most the mean of its s - 1 largest values. A group of s serves
    at most s tasks, so the sum over tasks of 1 / s is at most the number of groups. With a price
    on that number each task takes the size it likes best, and any price gives a bound; the lowest
    is found by ternary search.
    """
    size = len(values)
    table = np.where(np.eye(size, dtype=bool), np.nan, values)
    ordered = -np.sort(-table, axis=1)[:, : size - 1]  # NaN comes last
    means = np.cumsum(ordered, axis=1) / np.arange(1, size)
    best = np.concatenate([alone[:, None], np.where(np.isnan(means), -np.inf, means)], axis=1)
    inverse = 1.0 / np.arange(1, size + 1)

    def at(price: float) -> float:
        return float(most * price + (best - price * inverse).max(1).sum())

    finite = best[np.isfinite(best)]
    low, high = 0.0, float(finite.max() - finite.min()) * size**2
    for _ in range(100):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, second) if at(first) <= at(second) else (first, high)
    return min(at(0.0), at(low))


def _filled(values: Array, alone: Array) -> tuple[Array, Array]:
    """Sums of both directions with unknown pairs made very bad, and values of tasks alone."""
    size = len(values)
    off = ~np.eye(size, dtype=bool)
    known = np.isfinite(values) & off
    low, high = values[known].min(initial=0.0), values[known].max(initial=0.0)
    table = np.where(known, values, low - size * (high - low))
    table[~off] = 0.0
    # A task still without companions counts as one with usual ones.
    usual = np.where(known, values, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return table + table.T, np.where(np.isfinite(alone), alone, usual)


def _worth(totals: Array, counts: NDArray[np.intp], states: Members, lone: Array) -> Array:
    """The sum over members of the mean over their companions, by group."""
    single = np.where(states, lone, 0.0).sum(2)
    return np.asarray(np.where(counts > 1, totals / np.maximum(counts - 1, 1), single))


def _companions(values: Array) -> Members:
    """Each task with its 1, 2, ... best companions."""
    size = len(values)
    table = np.where(np.isnan(values) | np.eye(size, dtype=bool), -np.inf, values)
    found = []
    for task, order in enumerate(np.argsort(-table, axis=1, kind="stable")):
        rows = np.tri(size - 1, dtype=bool)
        group = np.zeros((size - 1, size), dtype=bool)
        group[:, order[: size - 1]] = rows
        group[:, task] = True
        found.append(group)
    return np.concatenate(found)
