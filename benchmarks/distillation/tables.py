"""The tables of the trial of teacher annealing, and what they say of BAM's claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.tables import markdown
from polytask.study.statistics import ALPHA, Interval, holm, paired_interval, word

Json = Mapping[str, Any]
SAID = {
    "helps": "beats",
    "hurts": "loses to",
    "leans helps": "leans towards beating",
    "leans hurts": "leans towards losing to",
    "no evidence": "ties with",
    "undefined": "cannot be judged against",
}
"""What a verdict on the gain over somebody is in words."""


def section(name: str, chosen: Json, results: Json) -> str:
    """Everything about one data set."""
    shown = {w: v for w, v in chosen.items() if w != "data" or isinstance(v, dict)}
    settings = ", ".join(f"{word} {value}" for word, value in shown.items())
    sizes = ", ".join(f"{rows} {part}" for part, rows in results["dataset"]["splits"].items())
    plain, taught = networks(results)
    header = ["network", "Δm %", "over plain, points", "tasks above the teacher", "step"]
    rows = [["separate, the teachers", "0", "", "", ""]]
    for title, candidate in (("shared, plain", plain), ("shared, distilled", taught)):
        lead = differences(results)["plain sharing"] if candidate is taught else []
        rows.append(
            [
                title,
                interval(judged(results, known(candidate["delta_m"]["test"]))),
                interval(judged(results, lead)) if lead else "",
                above(candidate),
                f"{candidate['cost']['relative']:.2f}",
            ]
        )
    tasks = [
        [title, *by_task(network)] for title, network in (("plain", plain), ("distilled", taught))
    ]
    alone = ["teachers' score", *(f"{e['mean']:.4f}" for e in results["single_task"].values())]
    return "\n\n".join(
        [
            f"## {name}",
            f"{settings}; rows: {sizes}.",
            markdown(header, rows),
            conclusion(results),
            "Scores of the teachers by task, and gains over them in percent (* where told apart):",
            markdown(["network", *results["tasks"]], [alone, *tasks]),
            "\n".join(f"- {remark}" for remark in results["remarks"]),
        ]
    )


def summary(every: Mapping[str, Json]) -> str:
    """The claim, set by set."""
    lines = [f"- {name}. {conclusion(results)}" for name, results in every.items()]
    return "\n".join(["The claim, by data set:", "", *lines])


def conclusion(results: Json) -> str:
    """The distilled network against its teachers and against plain sharing."""
    found = {whom: judged(results, gained) for whom, gained in differences(results).items()}
    adjusted = holm([entry.p for entry in found.values()])
    said = [
        f"{SAID[word(differences(results)[whom], p)]} {whom} ({interval(entry)})"
        for (whom, entry), p in zip(found.items(), adjusted, strict=True)
    ]
    return f"The distilled network {' and '.join(said)}, over {len(results['seeds'])} seeds."


def networks(results: Json) -> tuple[Json, Json]:
    """Plain and distilled; random weights, the litmus of balancing, are left out."""
    of = {c["distilled"]: c for c in results["candidates"] if c["method"] == "linear"}
    return of[False], of[True]


def differences(results: Json) -> dict[str, list[float]]:
    """Gains of the distilled network by seed, over its teachers and over plain sharing."""
    _, taught = networks(results)
    return {
        "its teachers": known(taught["delta_m"]["test"]),
        "plain sharing": taught["versus_linear"]["differences"],
    }


def known(values: Sequence[float | None]) -> list[float]:
    """The values of the seeds that have one."""
    return [value for value in values if value is not None]


def judged(results: Json, gained: Sequence[float]) -> Interval:
    """The 95 % interval of differences by seed, as the study makes it."""
    sizes = results["dataset"]["splits"]
    redrawn = sizes["test"] / sizes["train"] if results["interval"]["test_redrawn"] else 0.0
    return paired_interval(gained, redrawn=redrawn)


def interval(found: Interval) -> str:
    """`+0.40 [-0.10, +0.90]`, in percent."""
    if found.mean is None:
        return "undefined"
    if found.low is None:
        return f"{found.mean:+.2f} (one seed)"
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def above(candidate: Json) -> str:
    """`9 of 14; told apart: 1 better, 0 worse`."""
    gains = [entry["gain_mean"] for entry in candidate["tasks"].values()]
    there = [gain for gain in gains if isinstance(gain, float)]
    sure = [e["gain_mean"] for e in candidate["tasks"].values() if told_apart(e)]
    better, worse = (sum(sign * gain > 0 for gain in sure) for sign in (1, -1))
    count = sum(gain > 0 for gain in there)
    return f"{count} of {len(there)}; told apart: {better} better, {worse} worse"


def told_apart(entry: Json) -> bool:
    """Whether a task's gain is no accident."""
    return entry["p_holm"] is not None and entry["p_holm"] < ALPHA


def by_task(candidate: Json) -> list[str]:
    """A network's gain on every task, in percent."""
    return [
        f"{entry['gain_mean']:+.1f}{'*' * told_apart(entry)}"
        if isinstance(entry["gain_mean"], float)
        else "undefined"
        for entry in candidate["tasks"].values()
    ]
