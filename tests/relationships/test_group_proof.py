"""Twenty tasks into five groups: proved for every kind of table, within the time promised."""

import time

import numpy as np
import pytest
from published_groups import CELEBA9, TASKONOMY5

from polytask.errors import UserError
from polytask.relationships import Affinity, group_tasks
from polytask.relationships._pairwise import Pairs

T, K = 20, 5
PROMISE = 20.0
"""Seconds of computing, on one core."""
KINDS = ["symmetric", "asymmetric", "blocks", "factors", "missing", "ties", "alone"]
KINDS += ["taskonomy", "celeba"]


def table(kind, seed):
    draw = np.random.default_rng([7, seed])
    values = draw.normal(size=(T, T))
    if kind == "symmetric":
        return (values + values.T) / 2
    if kind == "blocks":
        place = draw.permutation(np.arange(T) % K)
        return (place[:, None] == place[None]) + 0.3 * values
    if kind == "factors":
        parts = draw.normal(size=(T, 3))
        return parts @ parts.T + 0.5 * values
    if kind == "missing":
        return np.where(draw.random((T, T)) < 0.1, np.nan, values)
    if kind == "ties":
        return draw.integers(-1, 2, (T, T)).astype(float)
    if kind in ("taskonomy", "celeba"):
        published = np.array(TASKONOMY5 if kind == "taskonomy" else CELEBA9)
        places = np.arange(T) % len(published)
        noise = 0.1 * values if seed else 0.0  # without noise every copy ties
        return published[np.ix_(places, places)] * (1 + noise)
    return values


def improved(pairs, members, most):
    """Groups after the best change of one member of one group, again and again."""
    best = pairs.gains(members).max(1).sum()
    while True:
        tried = []
        for group in range(len(members)):
            for task in range(T):
                other = members.copy()
                other[group, task] ^= True
                if other[group].any():
                    tried.append((pairs.gains(other).max(1).sum(), other))
        value, other = max(tried, key=lambda pair: pair[0])
        if value <= best + 1e-12:
            return best
        best, members = value, other


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_twenty_tasks_into_five_groups_are_proved_in_time(kind, seed) -> None:
    values, alone = table(kind, seed), 0.0 if kind == "alone" else None
    began = time.process_time()
    found = group_tasks(Affinity(tuple(f"t{i:02}" for i in range(T)), values), K, alone)
    assert time.process_time() - began < PROMISE
    assert found.gap == 0.0
    assert len(found.groups) <= K
    # No climb from anywhere comes higher.
    pairs = Pairs(values, np.full(T, -np.inf if alone is None else alone))
    draw = np.random.default_rng(seed)
    for _ in range(3):
        start = draw.random((K, T)) < 0.4
        start[0] = True
        assert improved(pairs, start, K) / T <= found.score + 1e-7
    own = np.array([[f"t{i:02}" in group for i in range(T)] for group in found.groups])
    assert improved(pairs, own, K) / T <= found.score + 1e-7


@pytest.mark.slow
def test_too_few_groups_for_twenty_tasks_with_unknown_pairs_are_refused_in_time() -> None:
    began = time.process_time()
    with pytest.raises(UserError, match="smallest feasible number is 3; found max_groups=2"):
        group_tasks(Affinity(tuple(f"t{i:02}" for i in range(T)), table("missing", 0)), 2)
    assert time.process_time() - began < PROMISE
