"""The numbers of a study of relationships as sentences: what to train together, and how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.numbers import bracket, duration, p_value, plural, signed
from polytask.report.words import MOST_NAMED
from polytask.study.coverage import coverage
from polytask.study.relations.budget import NETWORKS
from polytask.study.relations.groups import ALL_IN_ONE, ALONE, RANDOM
from polytask.study.statistics import VERDICT_SEEDS

Results = Mapping[str, Any]
Entry = Mapping[str, Any]

OTHERS = {
    ALL_IN_ONE: "all in one network",
    ALONE: "every task alone",
    RANDOM: "random groups",
}
BETTER = {
    "helps": "beats",
    "hurts": "is worse than",
    "leans helps": "leans towards beating",
    "leans hurts": "leans towards being worse than",
    "no evidence": "is not told from",
    "undefined": "cannot be compared yet with",
}
SEEN = (
    "Affinities were measured on seed 0, of whose training rows some are test rows of other seeds."
)


def verdict(results: Results) -> dict[str, Any]:
    """The "verdict" of `results.json`: one sentence, one per comparison, and how sure it is."""
    chosen, check = results["recommendation"], results["check"]
    branched = list(check["branched"]) if check else []
    branching = {entry["theirs"]: _contrast(entry, "The branched network") for entry in branched}
    if "undefined" in chosen:
        return {
            "sentence": f"No groups are recommended: {_stop(chosen['undefined'])}",
            "contrasts": {},
            "branched": branching,
            "confidence_note": _confidence(results),
        }
    contrasts = list(check["contrasts"]) if check else []
    parts = [_recommended(results, chosen), _measured(check, contrasts), *_branched(branched)]
    parts.append(_cost(results))
    return {
        "sentence": " ".join(part for part in parts if part),
        "contrasts": {entry["theirs"]: _contrast(entry) for entry in contrasts},
        "branched": branching,
        "confidence_note": _confidence(results),
    }


def _recommended(results: Results, chosen: Entry) -> str:
    """Who should share, by which estimator."""
    groups, size = chosen["groups"], len(results["tasks"])
    deciding = next(entry for entry in results["estimators"] if entry["decides"])
    by = f"by {deciding['label']}" if deciding["name"] != "given" else "by the given affinities"
    if spent := results.get("budget"):
        by += f", within a budget of {spent['words']}"
        by += "" if spent["in"] == NETWORKS else f"; they take {chosen['cost']:.3g}"
    if len(groups) == 1:
        return f"Train all {size} tasks in one network ({by})."
    if len(groups) == size and all(len(group["tasks"]) == 1 for group in groups):
        return f"Train each of the {size} tasks alone ({by})."
    return f"Train {plural(len(groups), 'network')}: {'; '.join(map(_group, groups))} ({by})."


def _group(group: Entry) -> str:
    """'a alone', 'a + b', or 'a + b helped by c' where another network serves c."""
    served = list(group["serves"])
    helpers = [task for task in group["tasks"] if task not in served]
    if not helpers:
        return f"{served[0]} alone" if len(served) == 1 else _sum(served)
    return f"{_sum(served)} helped by {_sum(helpers)}"


def _sum(tasks: Sequence[str]) -> str:
    """'a + b', or how many they are when there are too many to name."""
    if len(tasks) <= MOST_NAMED:
        return " + ".join(tasks)
    return f"{' + '.join(tasks[: MOST_NAMED - 1])} and {len(tasks) - MOST_NAMED + 1} more"


def _branched(contrasts: Sequence[Entry]) -> list[str]:
    """What the check says of one network with branches, where there is one."""
    return [f"One network with branches {_told(contrasts)}."] if contrasts else []


def _measured(check: Entry | None, contrasts: Sequence[Entry]) -> str:
    """What the check says of the recommendation."""
    if check is None:
        return "That is a prediction: nothing was trained to check it."
    if not contrasts:
        return "There is no other arrangement to compare it with."
    return f"On test it {_told(contrasts)} (difference in Δm, positive = better)."


def _told(contrasts: Sequence[Entry]) -> str:
    """'beats x and y; it is worse than z': the comparisons of one word together."""
    parts = []
    for said, verb in BETTER.items():
        named = [entry for entry in contrasts if entry["word"] == said]
        if named:
            parts.append(f"{verb} {' and '.join(_against(entry) for entry in named)}")
    return "; it ".join(parts)


def _against(entry: Entry) -> str:
    """'all in one network (+1.2 % [+0.4, +2.0])'."""
    return f"{OTHERS[entry['theirs']]}{_gain(entry)}"


def _contrast(entry: Entry, ours: str = "The recommendation") -> str:
    """The sentence on one comparison."""
    said = entry["word"]
    if said == "undefined":
        return f"{ours} {BETTER[said]} {OTHERS[entry['theirs']]}: no seed has both."
    return f"{ours} {BETTER[said]} {_against(entry)}, {_why(entry)}."


def _why(entry: Entry) -> str:
    """What the word rests on."""
    seeds, said = len(entry["differences"]), entry["word"]
    if seeds >= VERDICT_SEEDS:
        return f"Holm-adjusted {p_value(entry['p_holm'])}"
    if seeds == 1:
        return "from one seed, which says nothing about noise"
    return (
        f"{'the sign changes over' if said == 'no evidence' else 'same sign in all'} {seeds} seeds"
    )


def _gain(entry: Entry) -> str:
    """' (+2.4 % [+0.6, +4.1])', nothing where there is no number."""
    if entry["mean"] is None:
        return ""
    interval = bracket(entry["low"], entry["high"], 1)
    return f" ({signed(entry['mean'], 1)} %{' ' + interval if interval else ''})"


def _cost(results: Results) -> str:
    """What the answer took."""
    measure, check = results["cost"]["measure"], results["cost"]["check"]
    said = f"Measuring took {plural(measure['runs'], 'run')} ({duration(measure['seconds'])})"
    if results["check"] is not None:
        said += f", the check {plural(check['runs'], 'more run')} ({duration(check['seconds'])})"
    return f"{said} of computing."


def _confidence(results: Results) -> str:
    """What the intervals cover, and what weakens them."""
    said = []
    if results["check"] is not None:
        seeds = len(results["seeds"])
        said.append(
            "Δm: mean over the tasks of the gain on test over the task alone, in percent, positive "
            f"= better; a task is judged in the network that serves it. {plural(seeds, 'seed')}."
        )
        said += coverage(seeds, results["interval"]["test_redrawn"], SEEN)
    if not results["complete"]:
        said.append("The study is not complete.")
    return " ".join([*said, *results["remarks"]])


def _stop(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
