"""What the numbers say, in sentences: ties, what was left out, how the numbers were made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.numbers import bracket, duration, interval_decimals, number, plural, signed
from polytask.report.results import Candidate, Results, mapping

# Each verdict word with a sign that does not need colour and the tone it is shown in.
VERDICTS = {
    "helps": ("▲", "good"),
    "leans helps": ("△", "good"),
    "no evidence": ("●", "none"),
    "leans hurts": ("▽", "bad"),
    "hurts": ("▼", "bad"),
    "undefined": ("○", "none"),
    "auxiliary": ("○", "none"),
}
SIGNIFICANT = 0.05
VERDICT_SEEDS = 5  # fewer make a leaning, never a verdict
MOST_NAMED = 6  # more tasks than this are counted, not named
MOST_REMARKS = 6  # kinds of remark of single runs that are shown
DIRECTION = "positive = better than single-task"


def listing(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'; a name that holds a comma is quoted."""
    named = [f"'{name}'" if "," in name else name for name in names]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def several(tasks: Sequence[str], total: int) -> str:
    """Some of `total` tasks: by name, or how many they are when they would fill the screen."""
    if len(tasks) <= MOST_NAMED:
        return listing(tasks)
    if len(tasks) == total:
        return f"all {total} tasks"
    return f"{len(tasks)} of {total} tasks"


def sentence(results: Results) -> tuple[str, str]:
    """The verdict in words, its first sentence apart; a study without one says so."""
    found = results.section("verdict").get("sentence")
    said = str(found) if found else "No verdict yet: too few runs have finished."
    first, *others = re.split(r"(?<=[.!?]) (?=[A-Z])", said, maxsplit=1)
    return first, " ".join(others)


def verdict_of(results: Results, task: str) -> tuple[str, str, str, str]:
    """(word, sign, tone, sentence) of one task."""
    entry = mapping(mapping(results.section("verdict").get("tasks")).get(task))
    if "word" not in entry:
        return "no verdict yet", "○", "none", "Too few runs have finished."
    word = str(entry["word"])
    sign, tone = VERDICTS.get(word, ("●", "none"))
    # Whatever shows the sentence names the task right beside it.
    return word, sign, tone, str(entry.get("sentence") or "").removeprefix(f"{task}: ")


def tied(results: Results) -> list[Candidate]:
    """Candidates that these data do not separate from the chosen one on test.

    A tie: each one's mean Δm lies inside the other's 95 % interval. Where the study compared
    the two seed by seed and found a difference beyond noise, that holds instead.
    """
    chosen = results.chosen
    if chosen is None:
        return []
    others = (candidate for candidate in results.candidates if candidate is not chosen)
    return [
        other
        for other in others
        if _inside(chosen, other) and _inside(other, chosen) and not _told_apart(chosen, other)
    ]


def _told_apart(chosen: Candidate, other: Candidate) -> bool:
    """Whether the paired comparison with the baseline, which one of the two is, was decided."""
    pair = (chosen, other)
    if all(candidate.raw.get("versus_linear") for candidate in pair):
        return False
    decided = (mapping(candidate.raw.get("versus_linear")).get("p_holm") for candidate in pair)
    return any(p is not None and p < SIGNIFICANT for p in map(number, decided))


def _inside(one: Candidate, other: Candidate) -> bool:
    mean = number(one.delta_m[0])
    low, high = number(other.delta_m[1]), number(other.delta_m[2])
    return mean is not None and low is not None and high is not None and low <= mean <= high


def remarks(results: Results) -> list[str]:
    """Sentences that belong beside the verdict: choice, ties, the best on test, equal cost."""
    said = []
    chosen = results.chosen
    if chosen is not None:
        equals = tied(results)
        ties = [candidate.label for candidate in equals]
        judged = f"{chosen.label} was chosen on validation and judged once on test."
        if ties:
            every = len(ties) > 2 and len(ties) == len(results.candidates) - 1
            whom = "every other candidate" if every else listing(ties)
            judged += (
                f" There it ties with {whom}: each one's mean Δm lies inside the other's 95 % "
                "interval."
            )
        said.append(judged)
        said.extend(_at_equal_cost(chosen))
        best = results.candidates[0]
        mean = number(best.delta_m[0])
        if best is not chosen and best not in equals and mean is not None:
            said.append(
                f"{best.label} has the highest mean Δm on test ({signed(mean, 1)} %); it is not "
                "the choice, because choosing on test flatters what it chooses."
            )
    return said + run_remarks(results)


def run_remarks(results: Results) -> list[str]:
    """What single runs remarked: one sentence a kind, with the networks and how many seeds."""
    found = results.raw.get("run_remarks") or []
    said = [f"{_networks(entry['networks'])}: {entry['remark']}" for entry in found[:MOST_REMARKS]]
    if (more := len(found) - MOST_REMARKS) > 0:
        said.append(f"{plural(more, 'more remark')} of runs: run_remarks in results.json.")
    return said


def _networks(networks: Sequence[Mapping[str, Any]]) -> str:
    """Which networks remarked something: by name, or how many when they would fill the screen."""
    if len(networks) > MOST_NAMED:
        runs = [(len(network["seeds"]), int(network["finished"])) for network in networks]
        said, finished = (sum(column) for column in zip(*runs, strict=True))
        return f"{len(networks)} networks in {said} of {finished} runs"
    return "; ".join(
        f"{listing([network['name']])} in {len(network['seeds'])} of "
        f"{plural(network['finished'], 'seed')}"
        for network in networks
    )


def _at_equal_cost(chosen: Candidate) -> list[str]:
    """Said only when it changes the answer: a gain at equal epochs that equal cost takes away."""
    gain, cut = chosen.delta_m, chosen.equal_time
    low, low_cut = number(gain[1]), number(cut[1])
    mean = number(cut[0])
    if low is None or low_cut is None or mean is None or low <= 0 or low_cut > 0:
        return []
    decimals = interval_decimals([gain, cut])
    return [
        "At equal measured cost the gain is not established: there its Δm is "
        f"{signed(mean, decimals)} % {bracket(cut[1], cut[2], decimals)}."
    ]


def incomplete(results: Results) -> str:
    """One sentence on what is not in yet, '' for a complete study."""
    if results.complete:
        return ""
    missing = results.raw.get("missing") or []
    count = f" ({plural(len(missing), 'run')} missing)" if missing else ""
    return (
        f"This study is not complete{count}. Everything below rests on the runs that finished; "
        "run the same command again to add the others."
    )


def missing_item(entry: Any) -> str:
    """A missing run in words, whether it was recorded as a sentence or as fields."""
    if isinstance(entry, dict):
        return ", ".join(f"{key} {value}" for key, value in entry.items())
    return str(entry)


def facts(results: Results) -> list[str]:
    """The study in a few short phrases."""
    counts = [plural(len(results.tasks), "task"), plural(len(results.candidates), "candidate")]
    return phrases(results, counts)


def phrases(results: Results, counts: Sequence[str]) -> list[str]:
    """The data, what was counted, the seeds and the time, a short phrase each."""
    data = results.section("dataset")
    said = [f"data set {data['name']}"] if data.get("name") else []
    if sets := data.get("sets"):
        said = [f"{plural(len(sets), 'data set')} ({', '.join(each['name'] for each in sets)})"]
    if number(data.get("n")) is not None:
        said.append(plural(int(data["n"]), "row"))
    said += [*counts, plural(len(results.seeds), "seed")]
    if number(results.raw.get("seconds")) is not None:
        said.append(f"{duration(results.raw['seconds'])} of computing")
    return said


def redrawn(results: Results) -> bool | None:
    """Whether every seed draws a new test split; None when the file does not say."""
    said = results.section("interval").get("test_redrawn", results.raw.get("test_redrawn"))
    if isinstance(said, bool):
        return said
    return False if results.section("config").get("test") else None
