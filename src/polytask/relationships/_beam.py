"""Groups of many tasks: candidates by a beam search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polytask.relationships._columns import Array

Members = NDArray[np.bool_]

WIDTH = 48
"""Partial answers that the search keeps."""
ANSWERS = 8
"""Whole ones that it returns."""


def beam_groups(values: Array, alone: Array, most: int) -> tuple[Members, list[Members]]:
    """Groups worth a look, [n, T], and the best few answers that have each task once, [k, T].

    The former are all groups of the beam, their neighbours, and each task's best companions.

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
    answers = [state[state.any(1)] for state in states[:ANSWERS]]
    found = states.reshape(-1, size)
    found = np.unique(found[found.any(1)], axis=0)
    eye = np.eye(size, dtype=bool)
    every = np.ones((1, size), dtype=bool)
    parts = [found, neighbours(found), _companions(values), every, eye]
    return np.unique(np.concatenate(parts), axis=0), answers


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
