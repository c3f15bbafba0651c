"""Blocks of `results.json` made of scores: per task, Δm, at equal epochs and at equal time.

A block that cannot be computed holds `{"undefined": reason}` where its number would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polytask.study.folder import Outcome, number
from polytask.study.statistics import gains, holm, mean_defined, paired_interval, spread

Scores = list[Any]
"""One entry per seed: a number, `{"undefined": reason}`, or None for a run that is missing."""


@dataclass(frozen=True)
class Yardstick:
    """The single-task scores that gains are measured from, and how intervals are made."""

    singles: Mapping[str, Mapping[str, Scores]]
    """Task -> "val" and "test" -> scores by seed; without constructed helper tasks."""
    directions: Mapping[str, str]
    counted: Sequence[str]
    """The tasks that Δm averages over."""
    judged: Sequence[str]
    """The tasks that p-values are corrected over."""
    redrawn: float
    """n_test / n_train when the test split is drawn anew for every seed, else 0."""


def series(runs: Sequence[Outcome | None], block: str, part: str, task: str) -> Scores:
    """The scores of a task over the seeds; None where a run failed or is not in."""
    return [run[block][part][task] if run and block in run else None for run in runs]


def single_entry(runs: Sequence[Outcome | None], block: str, task: str) -> dict[str, Any]:
    """Scores of one contender on one task, with mean and standard deviation on test."""
    test = series(runs, block, "test", task)
    known = [v for v in map(number, test) if v is not None]
    mean, sd = spread(known)
    return {
        "val": series(runs, block, "val", task),
        "test": test,
        "mean": why_not(test) if mean is None else mean,
        "sd": sd,
    }


def gain_entries(
    runs: Sequence[Outcome | None], block: str, tasks: Sequence[str], yardstick: Yardstick
) -> dict[str, dict[str, Any]]:
    """Scores and gains of one contender on each task, p-values corrected over the tasks."""
    entries: dict[str, dict[str, Any]] = {}
    for task in tasks:
        entry = single_entry(runs, block, task)
        gained = _gain(entry["test"], yardstick, "test", task)
        known = [g for g in gained if g is not None]
        interval = paired_interval(known, redrawn=yardstick.redrawn)
        # Nothing to compare a constructed helper with: no gain was to be had, so none is undefined.
        single = yardstick.singles.get(task)
        reason = why_not(entry["test"], single["test"]) if single else None
        entry |= {
            "gain": gained,
            "gain_mean": reason if interval.mean is None else interval.mean,
            "gain_low": interval.low,
            "gain_high": interval.high,
            "p": interval.p,
        }
        entries[task] = entry
        entry["p_holm"] = None
    judged = [entries[task] for task in tasks if task in yardstick.judged]
    for entry, p in zip(judged, holm([entry["p"] for entry in judged]), strict=True):
        entry["p_holm"] = p
    return entries


def delta_m(runs: Sequence[Outcome | None], block: str, yardstick: Yardstick) -> dict[str, Any]:
    """Δm by seed on validation and test, and its interval on test.

    A task that is undefined in some seed is left out of Δm in all of them and named in
    `left_out`: means over different tasks could not be compared. A seed in which a run is
    missing, of this contender or of a single-task network, is left out.
    """
    found: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for part in ("val", "test"):
        kept: list[list[float | None]] = []
        for task in yardstick.counted:
            scores = series(runs, block, part, task)
            singles = yardstick.singles[task][part]
            gained = _gain(scores, yardstick, part, task)
            both = [i for i, s in enumerate(scores) if s is not None and singles[i] is not None]
            if both and all(gained[i] is not None for i in both):
                kept.append(gained)
            elif any(score is not None for score in scores):
                reason = why_not([scores[i] for i in both], [singles[i] for i in both])
                left_out[task] = f"{part}: {reason['undefined']}"
        rows = list(zip(*kept, strict=True)) if kept else [()] * len(runs)
        found[part] = [None if None in row else mean_defined(row) for row in rows]
    known = [v for v in found["test"] if v is not None]
    interval = paired_interval(known, redrawn=yardstick.redrawn)
    causes = "; ".join(f"{task}, {cause}" for task, cause in left_out.items())
    absent = {"undefined": causes or "no run of it has finished"}
    return found | {
        "mean": absent if interval.mean is None else interval.mean,
        "low": interval.low,
        "high": interval.high,
        "left_out": left_out,
    }


def contrast(
    ours: Sequence[float | None], theirs: Sequence[float | None], redrawn: float
) -> dict[str, Any]:
    """The paired difference of two series over the seeds that both have."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    interval = paired_interval([a - b for a, b in pairs], redrawn=redrawn)
    return {
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "p": interval.p,
        "differences": [a - b for a, b in pairs],
    }


def why_not(*columns: Sequence[Any]) -> dict[str, str]:
    """Why no number could be made of these scores, in the JSON form of an undefined value."""
    for column in columns:
        for value in column:
            if isinstance(value, dict):
                return {"undefined": str(value["undefined"])}
    if any(value is None for column in columns for value in column) or not any(columns):
        return {"undefined": "no finished run has this score"}
    return {"undefined": "the single-task score is 0, so there is no relative change from it"}


def _gain(scores: Scores, yardstick: Yardstick, part: str, task: str) -> list[float | None]:
    if task not in yardstick.singles:
        return [None] * len(scores)
    singles = [number(v) for v in yardstick.singles[task][part]]
    return gains([number(v) for v in scores], singles, yardstick.directions[task])
