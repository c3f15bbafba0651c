"""Which way of measuring affinities is worth its cost, and are the groups it tells any good?

`python -m benchmarks.relationships.estimators [SET ...]` runs `polytask relate` with every
estimator and the measured check on yeast (14 labels), the Jura (7 metals) and Hebrew morphology (7
tags); `qm9` (molecules) runs when named. Finished runs are kept in `runs/relationships`, so it can
be stopped and started again. Then the estimators that cost one training are measured again under
other seeds. Writes `benchmarks/results/relationships_estimators.md`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polytask
from benchmarks.relationships.seeds import DEARER, RECORDED, stability
from benchmarks.tables import keep, markdown

OUT = Path("runs/relationships")
TIE = 0.05
ESTIMATORS = (
    "lookahead",
    "gradient_cosine",
    "labels",
    "rsa",
    "cka",
    "projected_gradients",
    "transfer",
    "pairwise",
)
TABLE = {"encoder": {"mlp": {"hidden": [64, 32]}}, "lr": [3e-3], "batch_size": 64}
SETS: dict[str, dict[str, Any]] = {
    "yeast": {"data": "yeast", "epochs": 8, "seeds": 3, **TABLE},
    "jura": {"data": "jura", "epochs": 40, "seeds": 5, **TABLE, "batch_size": 32},
    "morphhb": {
        "data": {"morphhb": {"rows": 1500}},
        "encoder": {"transformer": {"width": 32, "layers": 1}},
        "lr": [3e-3],
        "epochs": 6,
        "seeds": 3,
        "batch_size": 32,
    },
}
MORE: dict[str, dict[str, Any]] = {
    "qm9": {
        "data": {"qm9": {"rows": 1500, "targets": ["mu", "alpha", "homo", "lumo", "gap", "zpve"]}},
        "lr": [3e-3],
        "epochs": 6,
        "seeds": 3,
        "batch_size": 64,
    },
}
"""Takes longer than the others together; runs when named."""
INTRODUCTION = """`python -m benchmarks.relationships.estimators`. Every estimator measures on seed
0 (`pairwise`: on all seeds) and groups the tasks into at most three networks. *Cost*: in trainings
of all tasks together, by counted steps or by time beside other runs, so roughly. *Agreement*:
Spearman's correlation with pairwise training over all ordered pairs, with the 95 % interval from
redrawing tasks. *Same under another seed*: mean Spearman's correlation between the affinities of
two seeds, with splits and weights of their own. *Predicted by pairs*: mean gain of that estimator's
groups over training alone, in percent, as the pairs that were trained foretell it (groups of
`pairwise` are rated by the numbers that chose them). The groups of `lookahead` are trained: Δm is
the mean gain on test over training alone in percent, with 95 % intervals over seeds; words are
after Holm's correction."""


def study(name: str) -> dict[str, Any]:
    """The results of one set, from its folder where they are finished."""
    chosen = dict((SETS | MORE)[name])
    found = polytask.relate(
        chosen.pop("data"), estimators=list(ESTIMATORS), max_groups=3, out=OUT / name, **chosen
    )
    return dict(found.results)


def rows(results: dict[str, Any], seeds: dict[str, float | None]) -> list[list[str]]:
    """One line an estimator."""
    return [
        [
            entry["name"],
            number(entry["cost"]["trainings"], ".1f"),
            agreement(entry),
            repeated(entry["name"], seeds),
            groups(entry["grouping"]),
            number(entry["grouping_worth"], "+.2f"),
        ]
        for entry in results["estimators"]
    ]


def number(value: Any, form: str) -> str:
    """A number, or that there is none."""
    return format(value, form) if isinstance(value, float | int) else "unknown"


def agreement(entry: dict[str, Any]) -> str:
    """`0.41 [0.12, 0.66]`, or why there is none."""
    found = entry["agreement"]
    if found is None:
        return "is the measure"
    if "undefined" in found:
        return "undefined"
    interval = ""
    if found["low"] is not None:
        interval = f" [{found['low']:.2f}, {found['high']:.2f}]"
    return f"{found['spearman']:.2f}{interval}"


def repeated(name: str, seeds: dict[str, float | None]) -> str:
    """The agreement of an estimator with itself, where it was measured again."""
    return number(seeds[name], ".2f") if name in seeds else "one seed"


def groups(grouping: dict[str, Any]) -> str:
    """`7 + 4 + 3`: the sizes of the groups."""
    if "undefined" in grouping:
        return "undefined"
    return " + ".join(str(len(group)) for group in grouping["groups"])


def checked(name: str, results: dict[str, Any]) -> list[str]:
    """One line of the table of what was trained: Δm, and the recommendation against the others."""
    by_id = {a["id"]: a for a in results["check"]["arrangements"]}
    contrasts = {c["theirs"]: c for c in results["check"]["contrasts"]}
    return [
        name,
        str(len(results["tasks"])),
        *(delta(by_id.get(which)) for which in ("recommended", "all_in_one")),
        *(contrast(contrasts.get(theirs)) for theirs in ("all_in_one", "alone", "random")),
    ]


def delta(arrangement: dict[str, Any] | None) -> str:
    """Δm of an arrangement, in percent."""
    if arrangement is None or not isinstance(arrangement["delta_m"].get("mean"), float):
        return "undefined"
    return interval(arrangement["delta_m"])


def contrast(entry: dict[str, Any] | None) -> str:
    """`+0.4 [-0.1, +0.9] no evidence`."""
    if entry is None:
        return "the same"
    return entry["word"] if entry["mean"] is None else f"{interval(entry)} {entry['word']}"


def interval(entry: dict[str, Any]) -> str:
    """`+0.4 [-0.1, +0.9]`; the mean alone where there is one seed."""
    if entry.get("low") is None:
        return f"{entry['mean']:+.2f}"
    return f"{entry['mean']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}]"


def conclusion(every: dict[str, dict[str, Any]]) -> str:
    """How often groups won, and which estimators agree with pairs beyond chance, counted."""
    said = []
    for theirs, words in (
        ("all_in_one", "all tasks in one network"),
        ("alone", "every task alone"),
        ("random", "random groups"),
    ):
        found = [
            next((c for c in r["check"]["contrasts"] if c["theirs"] == theirs), None)
            for r in every.values()
        ]
        told = ["the same" if c is None else str(c["word"]) for c in found]
        counts = ", ".join(f"{told.count(word)} {word}" for word in dict.fromkeys(told))
        said.append(f"against {words}: {counts}")
    text = f"The recommended groups on test, by set: {'; '.join(said)}."
    clear = []
    for name in ESTIMATORS[:-1]:
        entries = [e["agreement"] for r in every.values() for e in r["estimators"]
                   if e["name"] == name]  # fmt: skip
        above = sum(1 for e in entries if e and (e.get("low") or 0) > 0)
        clear.append(f"{name} {above}")
    text += (
        f" Sets of {len(every)} where an estimator agrees with pairwise training beyond chance "
        f"(interval above 0): {', '.join(clear)}."
    )
    return f"{text} {cheapest(every)}"


def cheapest(every: dict[str, dict[str, Any]]) -> str:
    """Whose groups are worth most by the pairs; what is nearly equal is called so."""
    said = []
    for name, results in every.items():
        rated = [
            (e["grouping_worth"], e["name"])
            for e in results["estimators"]
            if e["name"] != "pairwise" and isinstance(e["grouping_worth"], float)
        ]
        if not rated:
            continue
        best = max(worth for worth, _ in rated)
        winners = [word for worth, word in rated if worth > best - TIE]
        said.append(f"{name}: {' = '.join(winners)} ({best:+.2f} %)")
    return (
        "Of all but pairwise the best groups, as the pairs foretell (ties: within 0.05 points): "
        f"{'; '.join(said)}."
    )


def ceiling(again: dict[str, dict[str, float | None]]) -> str:
    """How far training pairs agrees with itself, which bounds what can agree with it."""
    said = ", ".join(f"{name} {number(found['pairwise'], '.2f')}" for name, found in again.items())
    return (
        f"Training pairs under one seed agrees with training them under another by {said}: where "
        "that is near 0 the gains of pairs are mostly noise at this size, and no estimator could "
        "foretell them."
    )


def write() -> None:
    """Write the table of all sets that are finished."""
    every = {
        name: json.loads((OUT / name / "results.json").read_text(encoding="utf-8"))
        for name in SETS | MORE
        if (OUT / name / "results.json").exists()
    }
    every = {name: results for name, results in every.items() if results["complete"]}
    header = ["estimator", "cost", "agreement", "same under another seed", "groups"]
    header += ["predicted by pairs, %"]
    parts = ["# Estimators of affinity: what they cost and what they are worth", INTRODUCTION]
    trained = ["set", "tasks", "recommended Δm", "all in one Δm", "against all in one"]
    trained += ["against alone", "against random"]
    again = {name: stability(OUT / name, results) for name, results in every.items()}
    parts += [f"{conclusion(every)} {ceiling(again)}", "## The recommended groups, trained"]
    parts += [markdown(trained, [checked(name, results) for name, results in every.items()])]
    for name, results in every.items():
        chosen = {word: value for word, value in (SETS | MORE)[name].items() if word != "data"}
        settings = ", ".join(f"{word} {value}" for word, value in chosen.items())
        lines = rows(results, again[name])
        parts += [f"## {name}", settings, markdown([*header], lines)]
        parts += [f"The study's own words: {results['verdict']['sentence']}"]
    parts.append(
        f"{', '.join(RECORDED)} and labels were measured under three seeds, pairwise under those "
        f"of the study, {', '.join(DEARER)} under one."
    )
    keep("relationships_estimators", "\n\n".join(parts))


def main() -> None:
    """Run the studies that were named, or all but the long one, and write the table."""
    chosen = sys.argv[1:] or list(SETS)
    if unknown := [name for name in chosen if name not in SETS | MORE]:
        sys.exit(f"unknown set {', '.join(unknown)}; known: {', '.join(SETS | MORE)}")
    for name in chosen:
        study(name)
    write()


if __name__ == "__main__":
    main()
