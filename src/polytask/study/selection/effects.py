"""What sets of helpers, and single helpers, are worth to the main task: numbers with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polytask.study.folder import Outcome, number
from polytask.study.plan import Contender, Outcomes
from polytask.study.scores import contrast, single_entry, why_not
from polytask.study.selection.plan import SelectionPlan
from polytask.study.selection.sets import Helpers, without
from polytask.study.statistics import SIGNS, gains, holm, mean_defined, spread, word

Entry = dict[str, Any]


@dataclass(frozen=True)
class Effects:
    """The sets that were trained, and what each finalist adds."""

    sets: dict[Helpers, Entry]
    helpers: dict[str, Entry]
    """Finalist -> "add" and "leave", see `effects`."""


def effects(
    plan: SelectionPlan, outcomes: Outcomes, finalists: Sequence[str], redrawn: float
) -> Effects:
    """Gains on test in percent of the mean score of the main task alone; positive = better.

    Every set gets its gain over the main task alone, paired by seed: of a set of one helper that
    is what the helper adds to none. What it adds to the other finalists is the gain of all
    finalists minus the gain of all but this one, on the same scale. p-values of each of the two
    questions are corrected over the finalists (Holm).
    """
    known = plan.contenders(outcomes)
    runs = {key: finished(plan, contender, outcomes) for key, contender in known.items()}
    main, direction = plan.selection.main, plan.selection.direction
    alone = single_entry(runs[frozenset()], "selected", main)
    sets: dict[Helpers, Entry] = {}
    for key, contender in known.items():
        entry = single_entry(runs[key], "selected", main)
        scores, theirs = map(_numbers, (entry["test"], alone["test"]))
        gained = gains(scores, theirs, direction)
        sets[key] = {
            "id": contender.id,
            "helpers": list(contender.tasks[1:]),
            **entry,
            "gain": gained,
            **_versus_alone(gained, entry, alone, redrawn),
            "curve": _curve(runs[key], main),
        }
    helpers = {task: _helper(task, finalists, sets, redrawn) for task in finalists}
    for question in ("add", "leave"):
        entries = [helpers[task][question] for task in finalists]
        judge(entries)
    return Effects(sets, helpers)


def finished(plan: SelectionPlan, contender: Contender, outcomes: Outcomes) -> list[Outcome | None]:
    """The results of a set at its chosen rate, one per seed; None where there is none."""
    rate = plan.chosen_lr(contender, outcomes)
    found: list[Outcome | None] = []
    for seed in range(plan.settings.seeds):
        result = None if rate is None else outcomes.get(plan.unit(contender, rate, seed).hash)
        found.append(None if result is None or "error" in result else result)
    return found


def choose(sets: Mapping[Helpers, Entry], direction: str, redrawn: float) -> Entry | None:
    """The smallest set that validation does not tell from the best, among those with most seeds.

    The one-standard-error rule (Breiman, Friedman, Olshen and Stone 1984, section 3.4.3): a set
    whose validation score lies, paired by seed, at most one standard error of the difference
    below the best is as good, so helpers that add nothing are left out. Of sets of one size the
    better score wins. With one seed there is no error, and the best is taken. A set that lacks
    seeds could win by lacking the hard ones. Before the main task alone has finished, None.
    """
    sign = SIGNS[direction]
    scores = {
        key: [None if v is None else sign * v for v in _numbers(entry["val"])]
        for key, entry in sets.items()
    }
    seeds = {key: sum(v is not None for v in column) for key, column in scores.items()}
    most = max(seeds.values(), default=0)
    if most == 0 or not seeds[frozenset()]:
        return None
    full = sorted((key for key in sets if seeds[key] == most), key=len)
    means = {key: mean_defined(scores[key]) or 0.0 for key in full}
    best = max(full, key=means.__getitem__)
    as_good = [key for key in full if key == best or _as_good(scores[best], scores[key], redrawn)]
    return sets[min(as_good, key=lambda key: (len(key), -means[key]))]


def against(ours: Entry, theirs: Entry | None, redrawn: float) -> Entry | None:
    """The paired difference of two sets' gains; None for a set and itself."""
    if theirs is None or ours["id"] == theirs["id"]:
        return None
    return contrast(ours["gain"], theirs["gain"], redrawn)


def judge(entries: Sequence[Entry]) -> None:
    """Add "p_holm", over all of `entries`, and the "word" of each."""
    for entry, p in zip(entries, holm([entry["p"] for entry in entries]), strict=True):
        entry["p_holm"] = p
        entry["word"] = word(entry["differences"], p)


def _helper(
    task: str, finalists: Sequence[str], sets: Mapping[Helpers, Entry], redrawn: float
) -> Entry:
    """What one finalist adds to the main task alone, and to the other finalists."""
    nobody = [0.0] * len(sets[frozenset()]["gain"])
    together, others = sets[frozenset(finalists)], sets[without(finalists, task)]
    return {
        "add": contrast(sets[frozenset({task})]["gain"], nobody, redrawn),
        "leave": contrast(together["gain"], others["gain"], redrawn),
    }


def _versus_alone(
    gained: Sequence[float | None], ours: Entry, alone: Entry, redrawn: float
) -> Entry:
    """Mean gain with its interval."""
    found = contrast(gained, [0.0] * len(gained), redrawn)
    mean = found["mean"]
    return {
        "gain_mean": why_not(ours["test"], alone["test"]) if mean is None else mean,
        "gain_low": found["low"],
        "gain_high": found["high"],
    }


def _as_good(best: Sequence[float | None], other: Sequence[float | None], redrawn: float) -> bool:
    """Whether the best is at most one standard error ahead, over the seeds of both."""
    ahead = [a - b for a, b in zip(best, other, strict=True) if a is not None and b is not None]
    mean, sd = spread(ahead)
    if mean is None:
        return False
    error = 0.0 if sd is None else sd * math.sqrt(1.0 / len(ahead) + redrawn)
    return mean <= error


def _numbers(scores: Sequence[Any]) -> list[float | None]:
    return [number(score) for score in scores]


def _curve(runs: Sequence[Outcome | None], main: str) -> list[float | None]:
    """The main task's mean validation score by epoch over the seeds that reached it."""
    rows = [run["curves"][main] for run in runs if run]
    length = max(map(len, rows), default=0)
    return [mean_defined([number(row[i]) for row in rows if i < len(row)]) for i in range(length)]
