"""The numbers of a study as sentences: should the tasks share, and how be balanced?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.numbers import fixed, p_value, ratio, signed
from polytask.report.words import listing, several
from polytask.study.folder import number
from polytask.study.statistics import ALPHA, VERDICT_SEEDS, mean_defined, word

Results = Mapping[str, Any]
Candidate = Mapping[str, Any]


def verdict(results: Results, chosen: Candidate | None, judged: Sequence[str]) -> dict[str, Any]:
    """The "verdict" of `results.json`: one sentence, one per task, and how sure it is."""
    along = {t: _along(t) for t in results["tasks"] if t not in judged}
    if chosen is None:
        tasks = {t: along.get(t) or _task(t, None) for t in results["tasks"]}
        return {
            "sentence": "No verdict yet: no network that shares has finished on a seed in which "
            "the single-task networks have.",
            "tasks": tasks,
            "confidence_note": "",
        }
    tasks = {t: along.get(t) or _task(t, chosen["tasks"][t]) for t in results["tasks"]}
    words = {t: tasks[t]["word"] for t in judged}
    singles = [results["single_task"][t]["cost"] for t in judged]
    parts = [_sharing(words, chosen), _balancing(results, chosen)]
    parts += [_cost(results, singles, chosen), _boosting(results, chosen)]
    return {
        "sentence": " ".join(part for part in parts if part),
        "tasks": tasks,
        "confidence_note": _confidence(results, chosen),
    }


def _along(task: str) -> dict[str, str]:
    """What is said of an auxiliary task."""
    return {"word": "auxiliary", "sentence": f"{task}: auxiliary, trained along and not judged."}


def _task(task: str, entry: Mapping[str, Any] | None) -> dict[str, str]:
    """The word and the sentence on one task."""
    if entry is None:
        return {"word": "undefined", "sentence": f"{task}: no run to judge by."}
    known = [g for g in entry["gain"] if g is not None]
    said = word(known, entry["p_holm"])
    if said == "undefined":
        reason = entry["gain_mean"]["undefined"]
        return {"word": said, "sentence": f"{task}: no verdict, because {reason}."}
    gain = f"{signed(entry['gain_mean'], 1)} %"
    if entry["gain_low"] is not None:
        gain += f" [{signed(entry['gain_low'], 1)}, {signed(entry['gain_high'], 1)}]"
    lead = {
        "helps": "sharing helps",
        "hurts": "sharing hurts",
        "leans helps": "sharing leans towards helping",
        "leans hurts": "sharing leans towards hurting",
        "no evidence": "no evidence that sharing helps or hurts",
    }[said]
    if len(known) >= VERDICT_SEEDS:
        why = f"Holm-adjusted {p_value(entry['p_holm'])}"
    elif len(known) == 1:
        why = "one seed, which says nothing about noise"
    else:
        same = "same sign in all" if said != "no evidence" else "the sign changes over"
        why = f"{same} {len(known)} seeds"
    return {"word": said, "sentence": f"{task}: {lead}, {gain} ({why})."}


def _sharing(words: Mapping[str, str], chosen: Candidate) -> str:
    """Should these tasks share a network?"""
    every = len(words)
    helped = [t for t, w in words.items() if w == "helps"]
    hurt = [t for t, w in words.items() if w == "hurts"]
    leaning = [t for t, w in words.items() if w == "leans helps"]
    falling = [t for t, w in words.items() if w == "leans hurts"]
    how = f"with {chosen['name']}, chosen on validation"
    if helped and hurt:
        lead = (
            f"It depends on the task: sharing ({how}) helps {several(helped, every)} "
            f"and hurts {several(hurt, every)}"
        )
    elif helped:
        rest = sum(w in ("no evidence", "leans helps") for w in words.values())
        others = f"; it leans towards hurting {several(falling, every)}" if falling else ""
        others += f"; no evidence of harm to the other {rest}" if rest else ""
        lead = f"Share: one network ({how}) helps {several(helped, every)}{others}"
    elif hurt:
        whom = several(hurt, every)
        lead = f"Keep separate networks: sharing ({how}) hurts {whom} and helps no task"
    elif leaning and falling:
        lead = (
            f"It may depend on the task: sharing ({how}) leans towards helping "
            f"{several(leaning, every)} and hurting {several(falling, every)}"
        )
    elif leaning:
        lead = f"Leans towards sharing ({how}): {several(leaning, every)} gain"
        lead += "s" if len(leaning) == 1 else ""
    elif len(falling) == len(words):
        lead = f"Leans towards separate networks: sharing ({how}) costs every task accuracy"
    elif falling:
        whom = several(falling, every)
        rest = sum(w == "no evidence" for w in words.values())
        others = f"; no evidence of help or harm to the other {rest}" if rest else ""
        lead = f"Sharing ({how}) leans towards hurting {whom}{others}"
    else:
        lead = f"No evidence that sharing ({how}) changes the accuracy of any task"
    return f"{lead} ({_delta(chosen['delta_m'])})."


def _delta(entry: Mapping[str, Any]) -> str:
    mean = number(entry["mean"])
    if mean is None:
        return "Δm undefined"
    said = f"Δm {signed(mean, 1)} %"
    if entry["low"] is not None:
        said += f" [{signed(entry['low'], 1)}, {signed(entry['high'], 1)}]"
    return said


def _balancing(results: Results, chosen: Candidate) -> str:
    """How should they share and be balanced? Against the baseline, ties said plainly."""
    ways, base, name = _compared(results)
    if any(c.get("distilled") for c in results["candidates"]):
        ways += ", distilled or not,"
    rivals = [c for c in results["candidates"] if c["versus_linear"] is not None]
    compared = [c for c in rivals if c["versus_linear"]["mean"] is not None]
    if not compared:
        return ""
    seeds = max(len(c["versus_linear"]["differences"]) for c in compared)
    if seeds < VERDICT_SEEDS:
        said = [c["name"] for c in compared if _ahead(c["versus_linear"]["differences"])]
        if said:
            lean, are = ("leans", "is") if len(said) == 1 else ("lean", "are")
            every = "both seeds" if seeds == 2 else f"all {seeds} seeds"
            return (
                f"Against {base}, {listing(said)} {lean} ahead in {every}; that is "
                "too few to tell from noise."
                if seeds > 1
                else f"Against {base}, {listing(said)} {are} ahead in the one seed, "
                "which says nothing about noise."
            )
        where = "every seed" if seeds > 1 else "the one seed"
        return f"{ways} is ahead of {base} in {where}."
    better = [c for c in compared if _beyond_noise(c["versus_linear"], 1)]
    worse = [c["name"] for c in compared if _beyond_noise(c["versus_linear"], -1)]
    tail = f" {listing(worse)} fall{'s' if len(worse) == 1 else ''} behind them." if worse else ""
    if not better:
        tie = ""
        if chosen["versus_linear"] is not None:
            tie = f"; {chosen['name']} ties with them ({_points(chosen['versus_linear'])})"
        return f"{ways} beats {base} ({name}) beyond noise{tie}.{tail}"
    alone = len(better) == 1
    named = [f"{c['name']} ({_points(c['versus_linear'], interval=alone)})" for c in better]
    # The comma of one interval needs no quotes; those of several names would.
    who = f"{named[0]} beats" if alone else f"{listing(named)} beat"
    return f"{who} {base} ({name}) beyond noise.{tail}"


def _compared(results: Results) -> tuple[str, str, str]:
    """What could be better than the baseline, what that is, and what it is called."""
    base = "hard sharing with tuned equal weights" if _several(results) else "tuned equal weights"
    if len({c.get("schedule") for c in results["candidates"]}) < 2:
        sharing = "sharing or " if _several(results) else ""
        return f"No way of {sharing}balancing", base, "linear"
    kinds = ["sharing"] if _several(results) else []
    kinds += ["balancing"] if len({c["method"] for c in results["candidates"]}) > 1 else []
    name = results["candidates"][0]["name"]
    return f"No way of {' or '.join([*kinds, 'drawing data sets'])}", base, name


def _several(results: Results) -> bool:
    """Whether the study compares architectures too."""
    return len({c["architecture"] for c in results["candidates"]}) > 1


def _cost(results: Results, singles: Sequence[float | None], chosen: Candidate) -> str:
    """What sharing saves or costs in training time, which matters when accuracy does not move."""
    ours = chosen["cost"]["relative"]
    known = [cost for cost in singles if cost is not None]
    if ours is None or len(known) < len(singles):
        return ""
    networks = "separate network costs" if len(known) == 1 else "separate networks together cost"
    unit = "one of hard sharing" if _several(results) else "one"
    return (
        f"A step of {chosen['name']} costs {ratio(ours)} {unit} with equal weights; the "
        f"{len(known)} {networks} {ratio(sum(known))}."
    )


def _boosting(results: Results, chosen: Candidate) -> str:
    """Does gradient boosting beat both kinds of network?"""
    entries = results["boosting"]
    if not entries:
        return ""
    judged = {t: e for t, e in entries.items() if number(e["gain_mean"]) is not None}
    if not judged:
        return ""
    seeds = max(len(e["versus_chosen"]["differences"]) for e in judged.values())
    decided = seeds >= VERDICT_SEEDS

    def beats(entry: Mapping[str, Any], side: int) -> bool:
        over = entry["versus_chosen"]
        if decided:
            alone = _sided(entry["gain_mean"], entry["p_holm"], side)
            return alone and _beyond_noise(over, side)
        known = [g for g in entry["gain"] if g is not None]
        both = [known, over["differences"]]
        return all(rows and all(side * d > 0 for d in rows) for rows in both)

    ahead = [t for t, e in judged.items() if beats(e, 1)]
    behind = [t for t, e in judged.items() if beats(e, -1)]
    verb = ("beats", "loses to") if decided else ("leans ahead of", "leans behind")
    said = []
    if ahead:
        said.append(f"{verb[0]} both kinds of network on {several(ahead, len(judged))}")
    if behind:
        said.append(f"{verb[1]} both on {several(behind, len(judged))}")
    if not said:
        return "Gradient boosting per target neither beats nor loses to both kinds of network."
    return f"Gradient boosting per target {' and '.join(said)}."


def _confidence(results: Results, chosen: Candidate) -> str:
    """What the intervals cover, and what weakens them."""
    seeds = sum(v is not None for v in chosen["delta_m"]["test"])
    said = [f"Positive = better than single-task. {_seeds(seeds)}."]
    if seeds < 2:
        said.append("One seed gives no interval.")
    elif results["interval"]["test_redrawn"]:
        said.append(
            "Every seed draws its own split; 95 % paired t-intervals with the correction of "
            "Nadeau and Bengio for overlapping splits."
        )
    else:
        said.append(
            "The test set is the same for all seeds: 95 % paired t-intervals cover initial weights "
            "and order of batches, not the choice of test rows."
        )
    if seeds < VERDICT_SEEDS:
        said.append(f"Fewer than {VERDICT_SEEDS} seeds: leanings only.")
    if not results["complete"]:
        said.append("The study is not complete.")
    mean = mean_defined(chosen["delta_m"]["val"])
    if mean is not None:
        said.append(f"On validation, by which it was chosen, Δm was {signed(mean, 1)} %.")
    return " ".join([*said, *results["remarks"]])


def _seeds(count: int) -> str:
    return f"{fixed(count, 0)} paired seed{'' if count == 1 else 's'}"


def _points(entry: Mapping[str, Any], interval: bool = True) -> str:
    """A difference of two Δm."""
    inside = ""
    if interval and entry["low"] is not None:
        inside = f" [{signed(entry['low'], 1)}, {signed(entry['high'], 1)}]"
    return f"{signed(entry['mean'], 1)} points of Δm{inside}"


def _ahead(differences: Sequence[float]) -> bool:
    return bool(differences) and all(d > 0 for d in differences)


def _beyond_noise(entry: Mapping[str, Any], side: int) -> bool:
    return _sided(entry["mean"], entry["p_holm"], side)


def _sided(mean: float | None, p: float | None, side: int) -> bool:
    return mean is not None and p is not None and p < ALPHA and side * mean > 0
