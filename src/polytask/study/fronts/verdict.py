"""What a front says, in words: whether preferences steer, what is given up, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.numbers import fixed, number, plural, signed
from polytask.report.words import listing
from polytask.study.scores import contrast
from polytask.study.statistics import VERDICT_SEEDS, holm, word

Entry = dict[str, Any]
MOVES = {
    "helps": "moves",
    "leans helps": "leans moves",
    "hurts": "moves the wrong way",
    "leans hurts": "leans the wrong way",
    "no evidence": "no evidence",
    "undefined": "undefined",
}
"""The words of a difference, for one that preferring a task makes to its own score."""


def steering(points: Sequence[Entry], tasks: Sequence[str], redrawn: float) -> dict[str, Entry]:
    """Per task, its gain where it counts most minus that where it counts least, paired by seed.

    In percent of its mean single-task score; p-values are corrected over the tasks (Holm). Empty
    for a single point.
    """
    if len(points) < 2:
        return {}
    found: dict[str, Entry] = {}
    for task in tasks:
        ranked = sorted(points, key=lambda point: float(point["preference"][task]))
        most, least = ranked[-1], ranked[0]
        entry = contrast(most["tasks"][task]["gain"], least["tasks"][task]["gain"], redrawn)
        found[task] = {"most": most["id"], "least": least["id"], **entry}
    for entry, p in zip(found.values(), holm([e["p"] for e in found.values()]), strict=True):
        entry["p_holm"] = p
        entry["word"] = MOVES[word(entry["differences"], p)]
    return found


def verdict(results: Mapping[str, Any]) -> Entry:
    """`{"sentence", "confidence_note"}`."""
    points = results["points"]
    judged = [p for p in points if p["front"] is not None]
    if not judged:
        return {"sentence": "No verdict yet: too few runs have finished.", "confidence_note": None}
    front = [p for p in judged if p["front"]]
    said = [
        f"{len(front)} of {plural(len(judged), 'trade-off')} are on the front (validation)."
        if len(judged) > 1
        else "One trade-off was trained."
    ]
    moves = [
        f"{task} {signed(entry['mean'], 1)} % ({entry['word']})"
        for task, entry in results["steering"].items()
        if number(entry["mean"]) is not None
    ]
    if moves:
        said.append(
            "Where a task counts most, against where it counts least, its test score is better by: "
            f"{'; '.join(moves[:6])}{'; ...' if len(moves) > 6 else ''}."
        )
    better = [p for p in judged if _nothing_given_up(p)]
    said.append(
        f"{plural(len(better), 'point')} did at least as well as single-task networks in every "
        "task (mean test score)."
        if better
        else "No point did at least as well as single-task networks in every task."
    )
    share = number(results["hypervolume"].get("mean"))
    if share is not None:
        said.append(f"The front covers {fixed(share, 2)} of the box up to the single-task scores.")
    seeds = len(results["seeds"])
    note = None
    if seeds < VERDICT_SEEDS:
        note = (
            f"With {plural(seeds, 'seed')} a difference leans at most; use {VERDICT_SEEDS} for a "
            "verdict."
        )
    return {"sentence": " ".join(said), "confidence_note": note}


def remarks(results: Mapping[str, Any]) -> list[str]:
    """What a reader should know of this front."""
    found = []
    steered = results["steering"]
    stuck = [t for t, e in steered.items() if e["word"] in ("no evidence", "moves the wrong way")]
    if stuck:
        found.append(
            f"The preference does not visibly steer {listing(stuck)}: its points may be one and "
            "the same trade-off, because the tasks hardly conflict, training was too short, or "
            "the losses differ in scale."
        )
    failed = [p["name"] for p in results["points"] if p["failed"]]
    if failed:
        found.append(f"Runs failed at {listing(failed)}; its mean is over the other seeds.")
    return found


def _nothing_given_up(point: Entry) -> bool:
    gains = [number(entry["gain_mean"]) for entry in point["tasks"].values()]
    return all(gain is not None and gain >= 0 for gain in gains)
