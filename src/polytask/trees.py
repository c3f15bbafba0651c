"""Trees of tasks, as pure functions: which tasks share a stage, and which tree is best.

A tree is one partition of the tasks per stage, from the first stage to the last, each refining
the one before: tasks that have parted do not meet again. It is here, below architectures and
relationships, because both plan such trees and neither may import the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import combinations
from math import inf

from polytask.errors import UserError

Groups = tuple[tuple[int, ...], ...]
"""A partition of tasks by number: groups in order, tasks in order."""
Matrix = list[list[float]]


def dissimilarities_of(
    affinities: Sequence[Sequence[Sequence[float]]], same: float | None = None
) -> list[Matrix]:
    """How far apart tasks are by their affinity, [stages, tasks, tasks]: 0 is alike.

    It is `same` less the affinity, at least 0; both directions of a pair are averaged. `same` is
    the affinity of tasks that need not part; None is the greatest of all, so that the most alike
    pair at its best stage is 0 apart, whatever the unit of the affinity. The diagonal is not read.
    """
    tasks = range(len(affinities[0]))
    means = [[[(a[i][j] + a[j][i]) / 2 for j in tasks] for i in tasks] for a in affinities]
    if same is None:
        same = max((m[i][j] for m in means for i, j in combinations(tasks, 2)), default=0.0)
    return [
        [[max(same - m[i][j], 0.0) if i != j else 0.0 for j in tasks] for i in tasks] for m in means
    ]


def best_tree(
    dissimilarities: Sequence[Sequence[Sequence[float]]],
    costs: Sequence[float],
    *,
    budget: float = inf,
    size: float = 0.0,
    beam: int = 8,
) -> tuple[Groups, ...]:
    """The tree of least dissimilarity within its groups, and the smallest of those.

    It minimises, over stages l with the partition P_l,

        sum_l sum over pairs i, j in one group of P_l of d_l[i, j]  +  size * copies

    with copies = sum_l c_l |P_l| / sum_l c_l, the size in encoders, at most `budget`. The search
    goes from the last stage to the first and merges groups. Of equally many groups and about as
    large (in sixteenths of the budget; else it would all be spent on the last stages) it keeps
    the `beam` best. It is exact where fewer exist than that.

    Args:
        dissimilarities: d, [stages, tasks, tasks], symmetric, 0 or more; the diagonal is not read.
        costs: c, what a copy of each stage costs, in any unit.
        budget: the greatest size; 1 is one encoder for all.
        size: what an encoder more must save in dissimilarity.
        beam: partial trees kept of a kind.

    Raises:
        UserError: a budget below 1, a size below 0.

    """
    if not size >= 0:
        raise UserError(f"size must be 0 or more, found {size!r}.")
    if not budget >= 1:
        raise UserError(f"budget must be at least 1, one encoder for all, found {budget!r}.")
    # In parts of the whole, so that "equal" means equal up to rounding.
    scale = max((v for d in dissimilarities for row in d for v in row), default=0.0) or 1.0
    whole = sum(costs) or 1.0
    shares = [cost / whole for cost in costs]
    tasks = range(len(dissimilarities[0]))
    bin_width = min(budget, len(tasks)) / 16
    states = [_State(tuple((task,) for task in tasks))]
    for stage in reversed(range(len(costs))):
        d = [[value / scale for value in row] for row in dissimilarities[stage]]
        rest = sum(shares[:stage])
        states = [
            accepted
            for state in _merged(states, d, beam, bin_width)
            if (accepted := state.accept(shares[stage], size / scale)).spent + rest <= budget + 1e-9
        ]
    return min(states, key=_State.rank).tree


@dataclass(frozen=True)
class _State:
    """Partitions of the stages from the last one down to the present one, and their price."""

    groups: Groups
    score: float = 0.0
    """Of the stages done."""
    spent: float = 0.0
    """Encoders of the stages done."""
    within: float = 0.0
    """Dissimilarity within `groups` at the present stage."""
    tree: tuple[Groups, ...] = ()

    def rank(self) -> tuple[float, float, Groups]:
        """What the better of two states has less of."""
        return round(self.score + self.within, 9), round(self.spent, 9), self.groups

    def accept(self, share: float, size: float) -> _State:
        """With `groups` as the partition of the present stage, a part `share` of an encoder."""
        copies = share * len(self.groups)
        score = self.score + self.within + size * copies
        return _State(self.groups, score, self.spent + copies, 0.0, (self.groups, *self.tree))

    def at(self, d: Sequence[Sequence[float]]) -> _State:
        """The same before another stage."""
        within = sum(d[i][j] for group in self.groups for i, j in combinations(group, 2))
        return _State(self.groups, self.score, self.spent, within, self.tree)

    def merge(self, first: tuple[int, ...], other: tuple[int, ...], between: float) -> _State:
        """With two groups as one, whose tasks are `between` apart."""
        left = [group for group in self.groups if group not in (first, other)]
        groups = tuple(sorted([*left, tuple(sorted((*first, *other)))]))
        return _State(groups, self.score, self.spent, self.within + between, self.tree)


def _merged(
    states: Iterable[_State], d: Sequence[Sequence[float]], beam: int, bin_width: float
) -> list[_State]:
    """The best of these states and of those in which some of their groups are one."""
    # By number of groups, then by size, then by the state itself.
    known: dict[int, dict[int, dict[object, _State]]] = {}

    def add(state: _State) -> None:
        alike = known.setdefault(len(state.groups), {}).setdefault(int(state.spent / bin_width), {})
        key = (state.groups, round(state.spent, 9))
        if key not in alike or state.rank() < alike[key].rank():
            alike[key] = state

    for state in states:
        add(state.at(d))
    kept: list[_State] = []
    for count in range(max(known), 0, -1):
        for alike in known.get(count, {}).values():
            best = nsmallest(beam, alike.values(), key=_State.rank)
            kept += best
            for state in best:
                for between, one, other in nsmallest(beam, _pairs(state.groups, d)):
                    add(state.merge(one, other, between))
    return kept


def _pairs(
    groups: Groups, d: Sequence[Sequence[float]]
) -> Iterator[tuple[float, tuple[int, ...], tuple[int, ...]]]:
    """Every two groups, behind the dissimilarity between their tasks."""
    for one, other in combinations(groups, 2):
        yield sum(d[i][j] for i in one for j in other), one, other
