"""Which tasks to label, and from which to transfer, under a budget of supervision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.errors import UserError, need, unknown
from polytask.relationships._choice import real_number
from polytask.relationships.affinity import Affinity
from polytask.relationships.hoa import group_names

Array = NDArray[np.float64]
Sources = tuple[str, ...]

TIE = 1e-7
"""What one more supervised task must add, in units of the largest weighted affinity."""
SCALE = 1e3


@dataclass(frozen=True)
class TransferPolicy:
    """Which tasks are supervised, and where every target's network starts from."""

    supervised: tuple[str, ...]
    transfers: dict[str, Sources]
    """The sources of each target; the target itself where it is supervised and best so."""
    score: float
    """Sum over targets of importance times affinity."""
    cost: float
    """Total cost of the supervised tasks."""


@dataclass(frozen=True)
class _Edges:
    """All transfers: E of them, from sets of S sources to T targets."""

    target: NDArray[np.intp]
    sources: list[tuple[int, ...]]
    worth: Array


def transfer_policy(
    affinities: Affinity | Mapping[str, Mapping[str | Sources, float]],
    budget: float,
    *,
    importance: Mapping[str, float] | None = None,
    costs: Mapping[str, float] | None = None,
) -> TransferPolicy:
    """The tasks to supervise and one transfer for each target, of the largest total affinity.

    The boolean integer programme of Zamir et al. 2018, "Taskonomy: disentangling task transfer
    learning", arXiv 1804.08328, section 3.4: every target is served by exactly one transfer, each
    source of it must be supervised, supervision costs no more than the budget, and the sum over
    targets of importance times affinity is largest (proved, to within 1e-7 of the largest term).
    A transfer from several sources is chosen as one. Of equally good answers the one with fewer
    supervised tasks is taken; a target with equally good transfers takes that with the fewest
    sources, then the first given.

    Args:
        affinities: `affinities[target][source]`, where a source is a name or a tuple of names
            (transfer from several at once); an `Affinity` will do. NaN is no transfer. A target as
            its own source means that it is supervised itself: leave it out for a target that
            cannot be, and leave a task out of the targets if it is of use as a source alone.
        budget: total cost of supervised tasks at most.
        importance: of each target, at least 0; 1 where not given.
        costs: of supervising each source, at least 0; 1 where not given, so that the budget
            counts tasks. 0 fits self-supervised sources.

    Raises:
        UserError: a target without a transfer, names that do not exist, or a budget that serves
            not all targets (the message tells the smallest that does).
        MissingExtraError: scipy is not installed.
    """
    table = _read(affinities)
    targets = list(table)
    names = list(dict.fromkeys(name for row in table.values() for key in row for name in key))
    weights = _numbers("importance", importance, targets)
    prices = _numbers("costs", costs, names)
    limit = real_number(budget, "budget", 0.0)
    edges = _Edges(
        target=np.array([i for i, t in enumerate(targets) for _ in table[t]], dtype=np.intp),
        sources=[tuple(names.index(n) for n in key) for row in table.values() for key in row],
        worth=np.array([weights[i] * v for i, t in enumerate(targets) for v in table[t].values()]),
    )
    largest = float(np.abs(edges.worth).max()) or 1.0
    scaled = SCALE / largest * edges.worth
    opened = _solve(edges, scaled, np.full(len(names), SCALE * TIE), prices, limit)
    if opened is None:
        unit = float(prices.max()) or 1.0
        cheapest = _solve(edges, 0 * scaled, SCALE * prices / unit, prices, math.inf)
        assert cheapest is not None, "with everything supervised every target is served"
        raise UserError(
            f"budget: nothing of cost {limit:g} serves all targets; the smallest feasible budget "
            f"is {prices[cheapest].sum():.12g}."
        )
    transfers, score = {}, 0.0
    for place, (target, row) in enumerate(table.items()):
        open_names = {names[i] for i in np.flatnonzero(opened)}
        usable = [key for key in row if set(key) <= open_names]
        best = max(usable, key=lambda key: (row[key], -len(key)))
        transfers[target] = best
        score += float(weights[place]) * row[best]
    used = {name for key in transfers.values() for name in key}
    return TransferPolicy(
        supervised=tuple(name for name in names if name in used),
        transfers=transfers,
        score=score,
        cost=float(sum(p for name, p in zip(names, prices, strict=True) if name in used)),
    )


def _solve(
    edges: _Edges, worth: Array, charges: Array, costs: Array, budget: float
) -> NDArray[np.bool_] | None:
    """Which sources to open, [S]; None where the budget serves not all targets."""
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array
    except ImportError as error:
        raise need("scipy", "app", "transfer_policy") from error
    count, width = len(worth), len(charges)
    places = np.arange(count)
    once = coo_array(
        (np.ones(count), (edges.target, width + places)),
        shape=(int(edges.target.max()) + 1, width + count),
    )
    # One row for each source of each transfer: the transfer only if the source is supervised.
    links = [(edge, source) for edge, key in enumerate(edges.sources) for source in key]
    edge, source = np.array(links, dtype=np.intp).T
    rows = np.arange(len(links))
    allowed = coo_array(
        (np.repeat([1.0, -1.0], len(links)), (np.tile(rows, 2), np.r_[width + edge, source])),
        shape=(len(links), width + count),
    )
    limits = [
        LinearConstraint(once.tocsr(), 1.0, 1.0),
        LinearConstraint(allowed.tocsr(), -np.inf, 0.0),
    ]
    if math.isfinite(budget):
        limits.append(LinearConstraint(np.r_[costs, np.zeros(count)][None], -np.inf, budget))
    found = milp(
        np.r_[charges, -worth],
        integrality=np.r_[np.ones(width), np.zeros(count)],
        bounds=Bounds(0.0, 1.0),
        constraints=limits,
        options={"mip_rel_gap": 0.0},
    )
    return None if found.x is None else np.asarray(found.x[:width] > 0.5)


def _read(given: Any) -> dict[str, dict[Sources, float]]:
    """Known affinities by target and sources."""
    rows = {task: given[task] for task in given.tasks} if isinstance(given, Affinity) else given
    if not isinstance(rows, Mapping) or not rows:
        raise UserError(
            "affinities: expected a mapping {target: {source: affinity}} or an Affinity, found "
            f"{'an empty one' if isinstance(rows, Mapping) else type(rows).__name__}."
        )
    table: dict[str, dict[Sources, float]] = {}
    for target, row in rows.items():
        if not isinstance(row, Mapping):
            raise UserError(f"affinities of {target!r}: expected a mapping, found {row!r}.")
        known: dict[Sources, float] = {}
        for source, value in row.items():
            where = f"affinities of {target!r}"
            key = (source,) if isinstance(source, str) else group_names(source, where)
            if value == value:  # not NaN, which is no transfer
                known[key] = real_number(value, f"{where} from {source!r}")
        if not known:
            raise UserError(
                f"affinities of {target!r}: no transfer is known. Measure one, leave the target "
                "out, or give it as its own source."
            )
        table[str(target)] = known
    return table


def _numbers(what: str, given: Mapping[str, float] | None, names: list[str]) -> Array:
    """Numbers by name, 1 where not given."""
    for name, value in (given or {}).items():
        if name not in names:
            raise unknown(f"name in {what}:", name, names)
        real_number(value, f"{what} of {name!r}", 0.0)
    return np.array([float((given or {}).get(name, 1.0)) for name in names])
