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
from polytask.relationships._costs import linear_costs
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
    max_groups: int | None = None,
    alone: float | None = None,
    *,
    budget: float | None = None,
    network_cost: float = 1.0,
    task_costs: float | Mapping[str, float] | None = None,
) -> Grouping:
    """The groups of tasks with the largest mean affinity, within a number or a budget of networks.

    The objective of task affinity groupings (TAG: Fifty et al. 2021, "Efficiently identifying task
    groupings for multi-task learning", arXiv 2109.04617): in a group a task has the mean of its
    affinities with the others in it; groups may overlap, and each task is served by the group
    where it has most; the score is the mean of that over all tasks.

    The published code gives a group of one the value -1e6; here it is not allowed at all, unless
    `alone` says what it is worth.

    Up to 20 tasks every group is looked at, and with a number of groups, or equal costs, the answer
    is proved the best (to within 1e-7 of the spread of the affinities). With a budget and unequal
    costs the search ends after a fixed number of steps: up to about 15 tasks that is enough for a
    proof, beyond not always. Above 20 tasks a beam search, exchanges of groups and tasks that move
    between groups find an answer, in a fixed number of steps too. In any case `gap` tells how much
    better the best could be at most, and is 0 where it is proved; above 20 tasks it counts how many
    groups a budget pays for, not which.

    The same table always has the same answer: of equally good ones that with the fewest groups,
    then the fewest members in all; what is still equal is settled by the order of the tasks. A task
    that two chosen groups serve equally well is assigned to the smaller one, then to the first.

    Args:
        affinity: `affinity[scored][companion]`, larger is better; a mapping of mappings or a
            DataFrame (rows are scored) will do. The diagonal is not used. Where a pair is NaN or
            absent, no group that holds both can serve the scored task: nothing is guessed.
        max_groups: groups at most, 1 or more; None for no limit but the budget's. Fewer are used
            where more do not help, so a number above that of the tasks is no error.
        alone: what a task in a group of its own is worth. None forbids such groups, as the paper
            does; 0 fits affinities that are gains over training alone, and lets "train it alone"
            be the answer. With cosines or losses choose it by what they mean.
        budget: total cost of the groups at most, in the unit of the next two; None for no limit. A
            group costs `network_cost` and the `task_costs` of its members: encoder and heads, as
            parameters, bytes or measured seconds. With the defaults it counts networks.
        network_cost: of a group, whatever its members.
        task_costs: of each member: one number for all tasks, or a mapping that names every task;
            None is 0.

    Returns:
        A `Grouping`; `score` is a mean of affinities, in their units, `cost` the total cost.

    Raises:
        UserError: a table that is none, one task and no `alone`, a task without any known
            affinity, neither `max_groups` nor `budget`, costs that are none, or limits that no
            grouping keeps (the message tells the smallest feasible one).
        MissingExtraError: scipy is not installed.

    Cost: 20 tasks need about 1 GB of memory and seconds; each task less halves both. Up to
    20 a budget with unequal costs takes minutes at worst; 40 tasks need about 10 seconds, whatever
    the limits.
    """
    table = as_affinity(affinity)
    if max_groups is None and budget is None:
        raise UserError("expected max_groups or a budget, found neither. Say max_groups=3.")
    most = None if max_groups is None else whole_number(max_groups, "max_groups")
    limit = None if budget is None else real_number(budget, "budget", 0.0)
    costs = linear_costs(table.tasks, network_cost, task_costs)
    lone = -math.inf if alone is None else real_number(alone, "alone")
    size = len(table.tasks)
    if size == 1 and alone is None:
        raise UserError(
            f"affinity: expected at least two tasks, found only {table.tasks[0]!r}. "
            "Give alone=0 to allow groups of one."
        )
    pairs = Pairs(table.values, np.full(size, lone))
    found = choose_by_pairs(table.tasks, pairs, most, limit, costs)
    gains = pairs.gains(found.members)
    prices = costs(found.members)
    return assigned(table.tasks, found.members, gains, 1 / size, found.gap / size, prices)


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
