"""The front of the points, how much it covers, and how far from the single-task scores it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polytask.metrics import hypervolume, non_dominated
from polytask.study.folder import number
from polytask.study.statistics import SIGNS, mean_defined, spread

Entry = dict[str, Any]
MOST_TASKS = 6
"""Beyond, a hypervolume says little of a few points, and its cost explodes."""
MARGIN = 0.1
"""How far behind the worst score the reference lies, of the distance to the best."""


def mark_front(points: Sequence[Entry], directions: Mapping[str, str]) -> None:
    """Add "front" to every point: whether no other one beats it on validation; None without scores.

    Scores are means over the seeds, of tasks that every point with scores has one of.
    """
    means = [
        {t: mean_defined([number(v) for v in point["tasks"][t]["val"]]) for t in directions}
        for point in points
    ]
    known = [i for i, row in enumerate(means) if any(v is not None for v in row.values())]
    tasks = [t for t in directions if all(means[i][t] is not None for i in known)]
    for point in points:
        point["front"] = None
    if not known or not tasks:
        return
    # Losses: smaller is better.
    table = [[-SIGNS[directions[t]] * (means[i][t] or 0.0) for t in tasks] for i in known]
    for i, kept in zip(known, non_dominated(table), strict=True):
        points[i]["front"] = bool(kept)


def covered(
    points: Sequence[Entry],
    singles: Mapping[str, Any],
    directions: Mapping[str, str],
    reference: Mapping[str, float] | None,
) -> Entry:
    """The hypervolume of the front on test, as a share of the box from the reference to the ideal.

    The ideal is what single-task networks reach, so 1 is a point that gives nothing up. The
    reference is the worst mean score of any point, a tenth of its distance to the best one worse,
    unless it was given. By seed, over the points that have all scores of that seed.
    """
    tasks = list(directions)
    if len(tasks) > MOST_TASKS:
        return {"undefined": f"more than {MOST_TASKS} tasks; the gains of the points say more"}
    signs = {t: -SIGNS[directions[t]] for t in tasks}
    ideal = {t: number(entry["mean"]) for t, entry in singles.items()}
    means = {t: [number(p["tasks"][t]["mean"]) for p in points] for t in tasks}
    if any(ideal[t] is None or not any(v is not None for v in means[t]) for t in tasks):
        return {"undefined": "a task has no score of its own network, or of no point"}
    corner = {}
    for t in tasks:
        losses = [signs[t] * v for v in (*means[t], ideal[t]) if v is not None]
        corner[t] = max(losses) + MARGIN * (max(losses) - min(losses))
        if reference is not None:
            corner[t] = signs[t] * reference[t]
    edges = {t: corner[t] - signs[t] * (ideal[t] or 0.0) for t in tasks}
    stated = {t: signs[t] * corner[t] for t in tasks}
    if any(edge <= 0 for edge in edges.values()):
        behind = next(t for t in tasks if edges[t] <= 0)
        why = f"the reference of {behind} is not behind its single-task score"
        return {"undefined": why, "reference": stated}
    front = [p for p in points if p["front"]]
    seeds = len(front[0]["tasks"][tasks[0]]["test"]) if front else 0
    values: list[float | None] = []
    for seed in range(seeds):
        full = []
        for point in front:
            row = [number(point["tasks"][t]["test"][seed]) for t in tasks]
            edge = [(signs[t] * v - corner[t]) / edges[t]
                    for t, v in zip(tasks, row, strict=True) if v is not None]  # fmt: skip
            if len(edge) == len(tasks):
                full.append(edge)
        values.append(hypervolume(np.array(full), [0.0] * len(tasks)) if full else None)
    mean, sd = spread([v for v in values if v is not None])
    shown: Any = {"undefined": "no point on the front has all scores"} if mean is None else mean
    return {
        "reference": stated,
        "given": reference is not None,
        "ideal": ideal,
        "values": values,
        "mean": shown,
        "sd": sd,
    }
