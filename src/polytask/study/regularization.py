"""What terms of the networks' weights found in the runs of a study: means over its seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from polytask import registry
from polytask.report.numbers import number
from polytask.study.folder import Outcome
from polytask.study.plan import Plan

LABELS = "cluster"
"""What a term calls the numbers of the tasks' clusters, which have no mean."""


def terms(plan: Plan, runs: Mapping[str, Sequence[Outcome | None]]) -> list[dict[str, Any]]:
    """One entry per candidate whose networks had terms; `runs` are the finished ones by contender.

    An entry is `{"candidate", "seeds", "terms"}`, the latter by name `{"tells", "found"}`: words
    for what was found, and the term's diagnostics with a mean over seeds for every number (see
    `polytask.optimization.regularization.Regularizer.details`). In place of the numbers of clusters
    there are "cluster", the commonest partition as `{"groups", "seeds"}`, and "together", the share
    of seeds in which two tasks were in one cluster.
    """
    found = []
    for contender in plan.candidates:
        told = [run["regularization"] for run in runs[contender.id] if run and _has(run)]
        if told:
            names = [name for name in told[0] if all(name in one for one in told)]
            means = {name: _term(name, [one[name] for one in told]) for name in names}
            found.append({"candidate": contender.id, "seeds": len(told), "terms": means})
    return found


def _has(run: Outcome) -> bool:
    return bool(run.get("regularization"))


def _term(name: str, told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    labels = [one[LABELS] for one in told if isinstance(one.get(LABELS), Mapping)]
    rest = [{key: value for key, value in one.items() if key != LABELS} for one in told]
    found = mean(rest)
    if labels:
        found |= {"cluster": commonest(labels), "together": together(labels)}
    return {"tells": _words(name), "found": found}


def _words(name: str) -> dict[str, str]:
    """What a term's diagnostics are; a third party's are known to its class alone."""
    entry = registry.entries("regularizer").get(name)
    if entry is None:
        return {}
    told = entry.constants.get("tells") or getattr(entry.load(), "tells", None)
    return dict(told) if isinstance(told, Mapping) else {}


def mean(values: Sequence[Any]) -> Any:
    """One value of the form of several: means of numbers, what is the same in all, else None.

    >>> mean([{"rank": {"w": 1}, "kind": "a"}, {"rank": {"w": 2}, "kind": "a"}])
    {'rank': {'w': 1.5}, 'kind': 'a'}
    """
    first = values[0]
    known = [found for value in values if (found := number(value)) is not None]
    if known:
        return sum(known) / len(known)
    if all(value == first for value in values):
        return first
    if all(isinstance(value, Mapping) for value in values):
        return {
            key: mean([v[key] for v in values]) for key in first if all(key in v for v in values)
        }
    if all(isinstance(value, list) for value in values) and len({*map(len, values)}) == 1:
        return [mean(place) for place in zip(*values, strict=True)]
    return None


def commonest(labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The partition of the tasks that most seeds had, the first of equals, and how many had it."""
    partitions = [_groups(one) for one in labels]
    counts = Counter(map(str, partitions))
    best = max(partitions, key=lambda groups: counts[str(groups)])
    return {"groups": best, "seeds": counts[str(best)]}


def _groups(labels: Mapping[str, Any]) -> list[list[str]]:
    """Tasks of one cluster together, in the order of the tasks."""
    places = {task: place for place, task in enumerate(labels)}
    by_label = sorted(labels, key=lambda task: (str(labels[task]), places[task]))
    groups = [list(tasks) for _, tasks in groupby(by_label, key=lambda task: labels[task])]
    return sorted(groups, key=lambda group: places[group[0]])


def together(labels: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """For every two tasks the share of seeds in which they are in one cluster."""

    def share(one: str, other: str) -> float:
        return sum(seed[one] == seed[other] for seed in labels) / len(labels)

    return {one: {other: share(one, other) for other in labels[0]} for one in labels[0]}
