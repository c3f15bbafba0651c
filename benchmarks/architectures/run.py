"""Ways of sharing on a table, images, dense maps and a text: Δm against cost, at equal size.

`python -m benchmarks.architectures.run [SET ...]` runs the studies one after the other in
`runs/architectures`; what is finished is kept, so it can be stopped and started again. Every
network, those of single tasks together included, has as many parameters as hard sharing has on
the encoder given here. Writes `benchmarks/results/architectures.md` and `architectures.svg`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polytask
from benchmarks.tables import RESULTS, keep, markdown

OUT = Path("runs/architectures")
ARCHITECTURES = (
    "hard_sharing",
    "mmoe",
    "ple",
    "cross_stitch",
    "mtan",
    "adapters",
    "learning_to_branch",
)
SETS: dict[str, dict[str, Any]] = {
    "adult": {"data": "adult", "encoder": {"mlp": {"hidden": [128, 64]}}, "epochs": 10, "seeds": 5},
    "multi_mnist": {
        "data": {"multi_mnist": {"rows": 3500}},
        "encoder": {"resnet": {"width": 8}},
        "epochs": 8,
        "seeds": 3,
        "batch_size": 64,
    },
    "earth_dense": {
        "data": "earth_dense",
        "encoder": "resnet",
        "epochs": 10,
        "seeds": 3,
        "batch_size": 16,
    },
    "morphhb": {
        "data": {"morphhb": {"rows": 2000}},
        "encoder": "transformer",
        "epochs": 6,
        "seeds": 3,
        "batch_size": 32,
    },
}
RATES = (1e-3, 3e-3)
INTRODUCTION = """`python -m benchmarks.architectures.run`. Equal weights everywhere, learning rate
(1e-3 or 3e-3) and epoch chosen on validation, judged once on test. Every network has about as many
parameters as hard sharing on the encoder named, the separate networks of `single_task` together.
*Step*: time of a training step, hard sharing = 1. *Δm*: mean gain over `single_task` at that size,
positive = better, with its 95 % interval; behind it the paired lead over hard sharing and the gain
of every task. ![Δm against cost](architectures.svg)"""


def study(name: str) -> dict[str, Any]:
    """The results of one set, from its folder where they are finished."""
    chosen = dict(SETS[name])
    result = polytask.compare(
        chosen.pop("data"),
        methods=["linear"],
        architectures=list(ARCHITECTURES),
        match_parameters=True,
        lr=RATES,
        out=OUT / name,
        **chosen,
    )
    return dict(result.results)


def candidates(results: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry an architecture: random weights, the litmus of balancing, are left out."""
    return [c for c in results["candidates"] if c["method"] == "linear"]


def rows(results: dict[str, Any]) -> list[list[str]]:
    """One line an architecture: size, cost, Δm, lead over hard sharing, gain by task."""
    alone = results["single_task"].values()
    size = sum(entry["parameters"] for entry in alone)
    cost = sum(entry["cost"] for entry in alone)
    lines = [["single_task", f"{size:,}", f"{cost:.2f}", "0", "", *("0" for _ in results["tasks"])]]
    for candidate in candidates(results):
        lead = candidate["versus_linear"]
        lines.append(
            [
                candidate["architecture"],
                f"{candidate['cost']['parameters']:,}",
                f"{candidate['cost']['relative']:.2f}",
                interval(candidate["delta_m"]),
                "" if lead is None else interval(lead),
                *(said(entry["gain_mean"]) for entry in candidate["tasks"].values()),
            ]
        )
    return lines


def interval(entry: dict[str, Any]) -> str:
    """`+0.4 [-0.1, +0.9]`, in percent."""
    return f"{entry['mean']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}]"


def said(gain: Any) -> str:
    """A gain in percent, or that there is none to tell."""
    return f"{gain:+.1f}" if isinstance(gain, float) else "undefined"


def conclusion(results: dict[str, Any]) -> str:
    """Who is ahead of or behind hard sharing beyond noise, by the 95 % interval."""
    others = [c for c in candidates(results) if c["versus_linear"] is not None]
    ahead = [c["architecture"] for c in others if c["versus_linear"]["low"] > 0]
    behind = [c["architecture"] for c in others if c["versus_linear"]["high"] < 0]
    parts = [
        f"{word} hard sharing: {', '.join(names) or 'none'}"
        for word, names in (("Ahead of", ahead), ("behind", behind))
    ]
    tied = len(others) - len(ahead) - len(behind)
    return (
        f"{'; '.join(parts)}; {tied} of {len(others)} tie with it (95 % intervals of paired "
        f"differences over {len(results['seeds'])} seeds, not corrected for their number). "
        f"The study's own words: {results['verdict']['sentence']}"
    )


def figure(every: dict[str, dict[str, Any]], path: Path) -> None:
    """Δm with its interval against the cost of a step, one panel a set."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(4 * len(every), 3.6), layout="constrained")
    panels = drawing.subplots(1, len(every), squeeze=False)[0]
    for panel, (name, results) in zip(panels, every.items(), strict=True):
        panel.axhline(0, color="0.6", linewidth=1)
        for number, candidate in enumerate(candidates(results)):
            delta, cost = candidate["delta_m"], candidate["cost"]["relative"]
            bars = [[delta["mean"] - delta["low"]], [delta["high"] - delta["mean"]]]
            colour = f"C{number}"
            panel.errorbar([cost], [delta["mean"]], yerr=bars, fmt="o", color=colour, capsize=2)
            panel.annotate(
                candidate["architecture"],
                (cost, delta["mean"]),
                textcoords="offset points",
                xytext=(5, 4 if number % 2 else -10),
                fontsize=7,
                color=colour,
            )
        seeds = len(results["seeds"])
        panel.set(title=f"{name} ({len(results['tasks'])} tasks, {seeds} seeds)", xscale="log")
        panel.set_xlabel("time of a step, hard sharing = 1")
        panel.set_xticks([1, 2, 4], ["1", "2", "4"])
        panel.minorticks_off()
    panels[0].set_ylabel("Δm against single-task networks, %")
    drawing.savefig(path)


def write() -> None:
    """Write the tables and the figure of all studies that are finished."""
    every = {
        name: json.loads((OUT / name / "results.json").read_text(encoding="utf-8"))
        for name in SETS
        if (OUT / name / "results.json").exists()
    }
    parts = ["# Ways of sharing, at equal size\n", f"{INTRODUCTION}\n"]
    header = ["architecture", "parameters", "step", "Δm %", "against hard_sharing, points"]
    for name, results in every.items():
        chosen = {word: value for word, value in SETS[name].items() if word != "data"}
        settings = ", ".join(f"{word} {value}" for word, value in chosen.items())
        table = markdown([*header, *results["tasks"]], rows(results))
        remarks = "\n".join(f"- {remark}" for remark in results["remarks"])
        parts.append(f"## {name}\n\n{settings}\n\n{table}\n\n{conclusion(results)}\n\n{remarks}\n")
    keep("architectures", "\n".join(parts))
    figure(every, RESULTS / "architectures.svg")


def main() -> None:
    """Run the studies that were named, or all, and write the tables and the figure."""
    chosen = sys.argv[1:] or list(SETS)
    if unknown := [name for name in chosen if name not in SETS]:
        sys.exit(f"unknown set {', '.join(unknown)}; known: {', '.join(SETS)}")
    for name in chosen:
        study(name)
    write()


if __name__ == "__main__":
    main()
