"""Teacher annealing against plain multi-task and single-task networks: does BAM's claim hold?

`python -m benchmarks.distillation.bam [SET ...]` runs the studies one after the other in
`runs/distillation`; what is finished is kept, so it can be stopped and started again. Writes
`benchmarks/results/distillation.md` from all that are finished.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polytask
from benchmarks.tables import keep, markdown

OUT = Path("runs/distillation")
SETS: dict[str, dict[str, Any]] = {
    "yeast": {"data": "yeast", "encoder": {"mlp": {"hidden": [128, 64]}}, "epochs": 30, "seeds": 5},
    "digits": {
        "data": "digits",
        "encoder": {"resnet": {"width": 8}},
        "epochs": 20,
        "seeds": 5,
        "batch_size": 64,
    },
    "morphhb": {
        "data": {"morphhb": {"rows": 1500}},
        "encoder": "transformer",
        "epochs": 6,
        "seeds": 3,
        "batch_size": 32,
    },
}
RATES = (1e-3, 3e-3)
INTRODUCTION = """`python -m benchmarks.distillation.bam`. Hard sharing with equal weights, plain
and distilled from the separate networks of the same seed with teacher annealing (K. Clark et al.,
ACL 2019, who find that such students match or beat their single-task teachers and plain multi-task
training). Temperature 1, learning rate (1e-3 or 3e-3) and epoch chosen on validation, judged once
on test. *Δm*: mean gain over the separate networks, which are the teachers, positive = better, in
percent with its 95 % interval; *over plain*: the paired difference of Δm; *step*: time of a step,
plain = 1, the training of the teachers left out."""
HEADER = ["network", "Δm %", "over plain, points", "step", "tasks not below teacher"]


def study(name: str) -> dict[str, Any]:
    """The results of one set, from its folder where they are finished."""
    chosen = dict(SETS[name])
    result = polytask.compare(
        chosen.pop("data"),
        methods=["linear"],
        distill={"from": "single_task", "form": "annealed"},
        lr=RATES,
        out=OUT / name,
        **chosen,
    )
    return dict(result.results)


def candidates(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Plain and distilled; random weights, the litmus of balancing, are left out."""
    return [c for c in results["candidates"] if c["method"] == "linear"]


def rows(results: dict[str, Any]) -> list[list[str]]:
    """One line a network: Δm, lead over plain sharing, cost, tasks at least as good as alone."""
    lines = [["separate, the teachers", "0", "", "", ""]]
    for candidate in candidates(results):
        lead, gains = candidate["versus_linear"], gains_of(candidate)
        lines.append(
            [
                "shared, distilled" if candidate["distilled"] else "shared, plain",
                interval(candidate["delta_m"]),
                "" if lead is None else interval(lead),
                f"{candidate['cost']['relative']:.2f}",
                f"{sum(gain >= 0 for gain in gains)} of {len(gains)}",
            ]
        )
    return lines


def gains_of(candidate: dict[str, Any]) -> list[float]:
    """Mean gains of the tasks, in percent; undefined ones are left out."""
    found = [entry["gain_mean"] for entry in candidate["tasks"].values()]
    return [gain for gain in found if isinstance(gain, float)]


def interval(entry: dict[str, Any]) -> str:
    """`+0.4 [-0.1, +0.9]`, in percent."""
    if entry["low"] is None:
        return "undefined" if entry["mean"] is None else f"{entry['mean']:+.2f}"
    return f"{entry['mean']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}]"


def conclusion(results: dict[str, Any]) -> str:
    """Against its teachers and against plain sharing, by the 95 % intervals."""
    (taught,) = [c for c in candidates(results) if c["distilled"]]
    against = (("its teachers", taught["delta_m"]), ("plain sharing", taught["versus_linear"]))
    said = " and ".join(f"{verdict(entry)} {whom}" for whom, entry in against)
    seeds = len(results["seeds"])
    return f"The distilled network {said} (95 % intervals over {seeds} seeds)."


def verdict(entry: dict[str, Any]) -> str:
    """Beats, loses to or ties with, by the interval."""
    if entry["low"] is None:
        return "cannot be told from"
    if entry["low"] > 0:
        return "beats"
    return "loses to" if entry["high"] < 0 else "ties with"


def write() -> None:
    """Write the tables of all studies that are finished."""
    parts = ["# Distillation with teacher annealing\n", f"{INTRODUCTION}\n"]
    for name, chosen in SETS.items():
        file = OUT / name / "results.json"
        if not file.exists():
            continue
        results = json.loads(file.read_text(encoding="utf-8"))
        shown = {word: value for word, value in chosen.items() if word != "data"}
        settings = ", ".join(f"{word} {value}" for word, value in shown.items())
        table = markdown(HEADER, rows(results))
        by_task = markdown(["network", *results["tasks"]], task_rows(results))
        remarks = "\n".join(f"- {remark}" for remark in results["remarks"])
        parts.append(
            f"## {name}\n\n{settings}\n\n{table}\n\n{conclusion(results)}\n\nGain over the "
            f"teachers by task, %:\n\n{by_task}\n\n{remarks}\n"
        )
    keep("distillation", "\n".join(parts))


def task_rows(results: dict[str, Any]) -> list[list[str]]:
    """One line a network: its gain on every task."""
    return [
        [
            "distilled" if candidate["distilled"] else "plain",
            *(
                f"{entry['gain_mean']:+.1f}"
                if isinstance(entry["gain_mean"], float)
                else "undefined"
                for entry in candidate["tasks"].values()
            ),
        ]
        for candidate in candidates(results)
    ]


def main() -> None:
    """Run the studies that were named, or all, and write the tables."""
    chosen = sys.argv[1:] or list(SETS)
    if unknown := [name for name in chosen if name not in SETS]:
        sys.exit(f"unknown set {', '.join(unknown)}; known: {', '.join(SETS)}")
    for name in chosen:
        study(name)
    write()


if __name__ == "__main__":
    main()
