"""How long the best groups take to find and to prove, and how large the gap is beyond 20 tasks.

Seconds are of CPU time, all threads together: an idle machine's clock shows no more.

`python -m benchmarks.relationships.grouping` groups tables of 4 to 40 tasks of every kind in
`affinities.KINDS` into up to 2, 3 and 5 groups, then some under a budget with unequal costs.
Writes `benchmarks/results/relationships_grouping.md`; with other sizes it only prints.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.relationships.affinities import KINDS, Case, case
from benchmarks.tables import keep, markdown
from benchmarks.timing import machine
from polytask.errors import UserError
from polytask.relationships import Grouping, group_tasks
from polytask.relationships._pairwise import EXACT

TASKS = (4, 8, 12, 16, 18, 20, 21, 24, 30, 40)
GROUPS = (2, 3, 5)
SEEDS = 2
PROMISE = 20.0
"""Seconds of CPU within which 20 tasks are to be put into 5 groups, proved."""
PRICED = (8, 12, 14, 16, 20, 30)


@dataclass(frozen=True)
class Run:
    """One table grouped."""

    kind: str
    tasks: int
    groups: int
    seconds: float
    score: float
    gap: float

    @property
    def proved(self) -> bool:
        """Whether no grouping is better."""
        return self.gap == 0.0

    @property
    def share(self) -> float:
        """The gap in percent of the score."""
        return 100 * self.gap / max(abs(self.score), 1e-12)


def run(kind: str, tasks: int, groups: int, seed: int) -> Run | None:
    """Group one table; None where so few groups cannot serve all tasks."""
    table = case(kind, tasks, seed)
    return timed(kind, table, groups, {"max_groups": groups})


def priced(tasks: int, groups: int, seed: int) -> Run | None:
    """Group one asymmetric table: heads of unequal size, a budget of about so many networks."""
    table = case("asymmetric", tasks, seed)
    draw = np.random.default_rng([tasks, seed, 1])
    costs = dict(zip(table.affinity.tasks, draw.uniform(0.05, 0.3, tasks).tolist(), strict=True))
    budget = groups + 1.3 * sum(costs.values())
    return timed("budget", table, groups, {"budget": budget, "task_costs": costs})


def timed(kind: str, table: Case, groups: int, limits: dict[str, object]) -> Run | None:
    began = time.process_time()
    try:
        found: Grouping = group_tasks(table.affinity, alone=table.alone, **limits)  # type: ignore[arg-type]
    except UserError:
        return None
    seconds = time.process_time() - began
    print(kind, len(table.affinity.tasks), groups, f"{seconds:.2f} s", file=sys.stderr, flush=True)
    return Run(kind, len(table.affinity.tasks), groups, seconds, found.score, found.gap)


def by_size(runs: Sequence[Run], tasks: Sequence[int], groups: Sequence[int]) -> str:
    """Median and longest time, how many were proved, median and largest gap."""
    rows = []
    for size in tasks:
        cells = [str(size)]
        for count in groups:
            some = [r for r in runs if (r.tasks, r.groups) == (size, count)]
            cells += summary(some)
        rows.append(cells)
    header = ["T", *(f"{word}, k={k}" for k in groups for word in ("seconds", "proved", "gap %"))]
    return markdown(header, rows)


def summary(some: Sequence[Run]) -> list[str]:
    """`1.2 (3.4)`, `9 of 10`, `0 (12)`: median and largest."""
    if not some:
        return ["", "none feasible", ""]
    seconds, gaps = [r.seconds for r in some], [r.share for r in some]
    return [
        f"{median(seconds):.2f} ({max(seconds):.2f})",
        f"{sum(r.proved for r in some)} of {len(some)}",
        f"{median(gaps):.0f} ({max(gaps):.0f})",
    ]


def by_kind(runs: Sequence[Run], tasks: Sequence[int], groups: int) -> str:
    """The median gap beyond the size that is searched wholly, by kind of table."""
    large = [size for size in tasks if size > EXACT]
    rows = []
    for kind, words in KINDS.items():
        cells = []
        for size in large:
            some = [r.share for r in runs if (r.kind, r.tasks, r.groups) == (kind, size, groups)]
            cells.append(f"{median(some):.1f}" if some else "")
        rows.append([kind, words, *cells])
    return markdown(["table", "entries", *(f"gap %, T={size}" for size in large)], rows)


def conclusion(runs: Sequence[Run]) -> str:
    """Whether 20 tasks into 5 groups are proved within the time promised, and what is not."""
    asked = [r for r in runs if (r.tasks, r.groups) == (20, 5)]
    exact = [r for r in runs if r.tasks <= EXACT]
    said = []
    if asked:
        slowest = max(asked, key=lambda r: r.seconds)
        kept = all(r.proved and r.seconds < PROMISE for r in asked)
        said.append(
            f"20 tasks into 5 groups: {sum(r.proved for r in asked)} of {len(asked)} proved, the "
            f"slowest ({slowest.kind}) in {slowest.seconds:.1f} s. Within {PROMISE:.0f} s and "
            f"proved, all of them: {'yes' if kept else 'no'}."
        )
    said.append(f"Up to {EXACT} tasks {sum(r.proved for r in exact)} of {len(exact)} are proved.")
    return " ".join(said)


def main() -> None:
    """Measure, print, and write the table when the whole was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=list(TASKS))
    parser.add_argument("--groups", type=int, nargs="+", default=list(GROUPS))
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--priced", type=int, nargs="*", default=list(PRICED))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    tried = [
        run(kind, size, groups, seed)
        for size in options.tasks
        for groups in options.groups
        for kind in options.kinds
        for seed in range(options.seeds)
    ]
    runs = [r for r in tried if r is not None]
    with_costs = [
        priced(size, groups, seed)
        for size in options.priced
        for groups in options.groups
        for seed in range(options.seeds)
    ]
    paid = [r for r in with_costs if r is not None]
    last = options.groups[-1]
    text = "\n\n".join(
        [
            "# Grouping: time and proof",
            f"Made by `python -m benchmarks.relationships.grouping` on {machine('cpu')}. Tables of "
            f"T tasks, {len(options.kinds)} kinds with {options.seeds} seeds each, into up to k "
            "groups. *Seconds*: of CPU time, all threads together, median (longest); an idle "
            "machine's clock shows no more. *Proved*: no grouping is better. *Gap*: how much "
            "better the best could be at most, in percent of the score: median (largest). Every "
            f"group is looked at up to {EXACT} tasks; beyond, a beam search finds the groups.",
            conclusion(runs),
            by_size(runs, options.tasks, options.groups),
            f"## Beyond {EXACT} tasks: gap by kind of table, k = {last}",
            by_kind(runs, options.tasks, last),
            "## Under a budget, heads of unequal size",
            "Asymmetric tables; a network costs 1, a task in it 0.05 to 0.3; the budget is k + 1.3 "
            "times the cost of all tasks.",
            by_size(paid, options.priced, options.groups),
        ]
    )
    whole = all(
        getattr(options, word) == wanted
        for word, wanted in (
            ("tasks", list(TASKS)),
            ("groups", list(GROUPS)),
            ("kinds", list(KINDS)),
            ("priced", list(PRICED)),
        )
    )
    if whole and options.seeds >= SEEDS:
        keep("relationships_grouping", text)
    else:  # a part replaces no whole
        print(text, flush=True)


if __name__ == "__main__":
    main()
