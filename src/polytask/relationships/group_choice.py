"""Which groups of tasks to train, from the losses of groups and a budget."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polytask.errors import UserError
from polytask.relationships._choice import choose, real_number, whole_number
from polytask.relationships._pairwise import Pairs, choose_by_pairs
from polytask.relationships.grouping import Grouping, assigned
from polytask.relationships.hoa import GroupLosses, group_names, read_losses

Array = NDArray[np.float64]
Members = NDArray[np.bool_]
Costs = Mapping[tuple[str, ...], float] | Callable[[tuple[str, ...]], float]


def choose_groups(
    group_losses: Mapping[tuple[str, ...], Mapping[str, float]],
    max_groups: int | None = None,
    budget: float | None = None,
    costs: Costs | None = None,
) -> Grouping:
    """The groups with the smallest total loss of all tasks, each served by its best chosen group.

    The selection of Standley et al. 2020, "Which tasks should be learned together in multi-task
    learning?", arXiv 1905.07553; their branch and bound is replaced by a mixed integer programme
    with the same answers.

    The answer is the best there is, to within 1e-7 of the spread of the losses, for measured
    groups and for predicted ones of up to 20 tasks, where groups are counted or cost the same.
    For predictions of more tasks a beam search finds it. With unequal costs the search ends after
    a fixed number of steps: for some thousand measured groups, or predictions of up to about 15
    tasks, that is enough for a proof, beyond not always. In any case `gap` tells how much smaller
    the loss could be at most, and is 0 where the answer is proved; for predictions of more than 20
    tasks it does not count the budget.

    The same input always has the same answer: of equally good ones that with the fewest groups,
    then the fewest members; what is still equal is settled by the order given. A task that two
    chosen groups serve equally well is assigned to the smaller one, then to the first.

    Args:
        group_losses: `{("a", "b"): {"a": loss, "b": loss}, ...}`, measured, or what
            `predict_group_losses` gave. A task whose loss is NaN or absent is not served by the
            group. Losses of different tasks are added: bring them to one scale first.
        max_groups: groups at most; None for no limit.
        budget: total cost of the groups at most; None for no limit.
        costs: of each group, a mapping from groups (names in any order) or a function of the
            tuple of names: parameters, seconds, measured latency. None counts networks: 1 each.

    Returns:
        A `Grouping`; `score` is the total loss, `values` each task's loss, `cost` the total cost.

    Raises:
        UserError: losses or costs that are none, a task that no group serves, or limits that no
            choice keeps (the message tells the smallest feasible one).
        MissingExtraError: scipy is not installed.

    Cost: seconds for 2^20 predicted groups, with about 1 GB of memory; a fraction of one for
        thousands of measured groups. Unequal costs take minutes at worst.
    """
    most = None if max_groups is None else whole_number(max_groups, "max_groups")
    limit = None if budget is None else real_number(budget, "budget", 0.0)
    if isinstance(group_losses, GroupLosses):
        tasks = group_losses.tasks
        alone = -group_losses.alone
        pairs = Pairs(-group_losses.pairs, np.where(np.isnan(alone), -np.inf, alone))
        price = _pricer(tasks, costs)
        found = choose_by_pairs(tasks, pairs, most, limit, price)
        members, gap = found.members, found.gap
        gains = pairs.gains(members)
        return assigned(tasks, members, gains, -1.0, gap, price(members))
    read = read_losses(group_losses, "group_losses")
    tasks = tuple(dict.fromkeys(itertools.chain.from_iterable(read)))
    places = {task: i for i, task in enumerate(tasks)}
    members = np.zeros((len(read), len(tasks)), dtype=bool)
    gains = np.full((len(tasks), len(read)), -np.inf)
    for column, (group, losses) in enumerate(read.items()):
        members[column, [places[task] for task in group]] = True
        for task, loss in losses.items():
            gains[places[task], column] = -loss
    prices = _pricer(tasks, costs)(members)
    chosen = choose(tasks, gains.copy(), members, prices, most, limit)
    kept = chosen.columns
    return assigned(tasks, members[kept], gains[:, kept], -1.0, chosen.gap, prices[kept])


def _pricer(tasks: Sequence[str], costs: Costs | None) -> Callable[[Members], Array]:
    """The function from groups [n, T] to their costs [n]."""
    if costs is None:
        return lambda members: np.ones(len(members))
    if callable(costs):
        ask: Callable[[tuple[str, ...]], float] = costs
    elif isinstance(costs, Mapping):
        table = {frozenset(group_names(group, "costs")): cost for group, cost in costs.items()}

        def ask(group: tuple[str, ...]) -> float:
            if frozenset(group) not in table:
                raise UserError(f"costs: expected a cost for each group, found none for {group}.")
            return table[frozenset(group)]
    else:
        raise UserError(
            "costs: expected a mapping from groups to numbers, a function of a group or None, "
            f"found {type(costs).__name__}."
        )

    def price(members: Members) -> Array:
        named = [tuple(itertools.compress(tasks, row)) for row in members.tolist()]
        return np.array(
            [real_number(ask(group), f"costs of {group}", 0.0) for group in named], dtype=np.float64
        )

    return price
