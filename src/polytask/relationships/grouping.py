"""Which tasks should share a network, from affinities: the best few groups, with a proof."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polytask.errors import UserError
from polytask.relationships._choice import real_number, whole_number
from polytask.relationships._pairwise import Pairs, choose_by_pairs
from polytask.relationships.affinity import Affinity, as_affinity

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas


@dataclass(frozen=True)
class Grouping:
    """Groups of tasks, one network each; a task may be in several and is served by one."""

    groups: tuple[tuple[str, ...], ...]
    """Members in the order of the tasks, groups in the order of their members."""
    score: float
    """Mean affinity (`group_tasks`) or total loss (`choose_groups`)."""
    assignment: dict[str, tuple[str, ...]]
    """The group that serves each task."""
    values: dict[str, float] = field(default_factory=dict)
    """What each task gets there: its mean affinity, or its loss."""
    cost: float = 0.0
    """Total cost of the groups; their number where no costs were given."""
    gap: float = 0.0
    """How far the score of the best grouping may lie beyond this one's; 0 where proved best."""


def group_tasks(
    affinity: Affinity | Mapping[str, Mapping[str, float | None]] | pandas.DataFrame,
    max_groups: int,
    alone: float | None = None,
) -> Grouping:
    """The groups of tasks with the largest mean affinity, at most `max_groups` of them.

    The objective of task affinity groupings (TAG: Fifty et al. 2021, "Efficiently identifying task
    groupings for multi-task learning", arXiv 2109.04617): in a group a task has the mean of its
    affinities with the others in it; groups may overlap, and each task is served by the group
    where it has most; the score is the mean of that over all tasks.

    The published code gives a group of one the value -1e6; here it is not allowed at all, unless
    `alone` says what it is worth.

    Up to 20 tasks the answer is the best of all groupings (to within 1e-7 of the spread of the
    affinities). Beyond, a beam search and exchanges of members find one, and `gap` tells how much
    better the best could be at most. The same table always has the same answer: of equally good
    ones that with the fewest groups, then the fewest members in all; what is still equal is
    settled by the order of the tasks. A task that two chosen groups serve equally well is assigned
    to the smaller one, then to the first.

    Args:
        affinity: `affinity[scored][companion]`, larger is better; a mapping of mappings or a
            DataFrame (rows are scored) will do. The diagonal is not used. Where a pair is NaN or
            absent, no group that holds both can serve the scored task: nothing is guessed.
        max_groups: 1 or more. Fewer groups are used where more do not help, so a number above
            that of the tasks is no error.
        alone: what a task in a group of its own is worth. None forbids such groups, as the paper
            does; 0 fits affinities that are gains over training alone, and lets "train it alone"
            be the answer. With cosines or losses choose it by what they mean.

    Returns:
        A `Grouping`; `score` is a mean of affinities, in their units.

    Raises:
        UserError: a table that is none, one task and no `alone`, a task without any known
            affinity, or unknown pairs that leave no grouping with so few groups (the message tells
            the smallest feasible number).
        MissingExtraError: scipy is not installed.

    Cost: 20 tasks need about 1 GB of memory and seconds; each task less halves both.
    """
    table = as_affinity(affinity)
    most = whole_number(max_groups, "max_groups")
    lone = -math.inf if alone is None else real_number(alone, "alone")
    size = len(table.tasks)
    if size == 1 and alone is None:
        raise UserError(
            f"affinity: expected at least two tasks, found only {table.tasks[0]!r}. "
            "Give alone=0 to allow groups of one."
        )
    pairs = Pairs(table.values, np.full(size, lone))
    found = choose_by_pairs(table.tasks, pairs, most, None, lambda groups: np.ones(len(groups)))
    gains = pairs.gains(found.members)
    return assigned(table.tasks, found.members, gains, 1 / size, found.gap / size)


def assigned(
    tasks: Sequence[str],
    members: NDArray[np.bool_],
    gains: NDArray[np.float64],
    unit: float,
    gap: float,
    costs: NDArray[np.float64] | None = None,
) -> Grouping:
    """The `Grouping` of chosen groups.

    Args:
        tasks: T names.
        members: [k, T].
        gains: [T, k], -inf where a group does not serve a task.
        unit: the score is this times the sum of the best gains.
        gap: of the score.
        costs: [k]; 1 each when None.
    """
    costs = np.ones(len(members)) if costs is None else costs
    # Smaller groups first, then by the places of their members: argmax takes the first.
    order = sorted(
        range(len(members)), key=lambda k: (members[k].sum(), *np.nonzero(members[k])[0])
    )
    best = np.array(order)[np.argmax(gains[:, order], axis=1)]
    names = {
        k: tuple(t for t, inside in zip(tasks, members[k], strict=True) if inside) for k in order
    }
    used = sorted(set(best.tolist()), key=lambda k: np.nonzero(members[k])[0].tolist())
    top = gains[np.arange(len(tasks)), best]
    sign = math.copysign(1.0, unit)
    return Grouping(
        groups=tuple(names[k] for k in used),
        score=unit * math.fsum(top),
        assignment={task: names[k] for task, k in zip(tasks, best.tolist(), strict=True)},
        values={task: sign * float(value) for task, value in zip(tasks, top, strict=True)},
        cost=float(costs[used].sum()),
        gap=gap,
    )
