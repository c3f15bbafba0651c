"""Does a selection of helpers beat all of them, and none, on held-out data, and at what cost?

`python -m benchmarks.auxiliary.selection [LABEL ...]` runs `polytask auxiliary` on yeast (2,417
rows, 14 labels) with one label as the main task and the other 13 as candidates, for the four
labels named here, with 5 seeds. Finished runs are kept in `runs/auxiliary_selection`. Writes
`benchmarks/results/auxiliary_selection.md`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polytask
from benchmarks.tables import keep, markdown

OUT = Path("runs/auxiliary_selection")
MAINS = ("Class1", "Class3", "Class9", "Class10")
"""Positive in .32, .41, .07 and .11 of the rows: two common labels and two rare ones."""
SEEDS, EPOCHS, RATES = 5, 15, (1e-3, 3e-3)
INTRODUCTION = f"""`python -m benchmarks.auxiliary.selection`. Yeast, 14 binary labels; one is the
main task (AUROC), the other 13 are candidates. {SEEDS} seeds, each with a split of its own;
learning rate and epoch by validation; intervals of 95 % over seeds with the correction for
overlapping splits, in percent of the main task's mean score alone, positive = better.
*All proven*: the runs that adding and leaving out every candidate would take, in place of a screen
and three finalists."""


def results(main: str) -> dict[str, Any]:
    """The selection for one main task, from its folder where it is finished."""
    found = polytask.select_auxiliaries(
        "yeast",
        main=main,
        seeds=SEEDS,
        epochs=EPOCHS,
        lr=RATES,
        batch_size=64,
        out=OUT / main,
    )
    return dict(found.results)


def row(found: dict[str, Any]) -> list[str]:
    """The recommended set against none and against all."""
    chosen = found["recommended"]
    every = next(s for s in found["sets"] if len(s["helpers"]) == 13)
    alone = next(s for s in found["sets"] if not s["helpers"])
    candidates = len(found["screen"]["helpers"])
    searched = len(RATES) + SEEDS - 1
    return [
        found["main"],
        f"{alone['mean']:.3f}",
        ", ".join(chosen["helpers"]) or "none",
        interval(chosen["versus_none"], "is none"),
        interval(chosen["versus_all"], "is all"),
        f"{every['gain_mean']:+.2f} [{every['gain_low']:+.2f}, {every['gain_high']:+.2f}]",
        f"{len(found['sets']) * searched + 1}",
        f"{(2 * candidates + 2) * searched}",
    ]


def interval(entry: dict[str, Any] | None, same: str) -> str:
    """`+0.4 [-0.1, +0.9] no evidence`."""
    if entry is None:
        return same
    return f"{entry['mean']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}] {entry['word']}"


def helpers(found: dict[str, Any]) -> list[list[str]]:
    """What each finalist adds, and what the screen knew of it."""
    screened = {entry["task"]: entry for entry in found["screen"]["helpers"]}
    lines = []
    for task, entry in found["helpers"].items():
        agreement = screened[task]["agreement"]
        bandit = screened[task]["bandit"]
        lines.append(
            [
                found["main"],
                task,
                f"{number(agreement, 'cosine')} ± {number(agreement, 'standard_error')}",
                number(bandit, "mean"),
                interval(entry["add"], ""),
                interval(entry["leave"], ""),
            ]
        )
    return lines


def number(entry: dict[str, Any], key: str) -> str:
    """A number of the screen, which may be undefined."""
    value = entry.get(key)
    return f"{value:.2f}" if isinstance(value, float) else "undefined"


def conclusion(every: list[dict[str, Any]]) -> str:
    """How often the selection was ahead, behind or level, by the corrected words."""
    said = []
    for word, against in (("none", "versus_none"), ("all 13 candidates", "versus_all")):
        entries = [found["recommended"][against] for found in every]
        words = ["same set" if e is None else e["word"] for e in entries]
        counts = ", ".join(f"{words.count(w)} {w}" for w in dict.fromkeys(words))
        said.append(f"against {word}: {counts}")
    helped = sum(len(found["recommended"]["helpers"]) > 0 for found in every)
    return (
        f"In {helped} of {len(every)} cases helpers are recommended at all. The recommended set "
        f"on test, {'; '.join(said)}."
    )


def main() -> None:
    chosen = sys.argv[1:] or list(MAINS)
    every = [results(name) for name in chosen]
    header = ["main task", "alone", "recommended", "against none, %", "against all, %"]
    header += ["all against none, %", "runs", "all proven"]
    detail = ["main task", "finalist", "cosine", "bandit", "added alone, %", "added last, %"]
    keep(
        "auxiliary_selection",
        "\n\n".join(
            [
                "# Selection of helpers, end to end",
                INTRODUCTION,
                markdown(header, [row(found) for found in every]),
                conclusion(every),
                "## The finalists",
                markdown(detail, [line for found in every for line in helpers(found)]),
            ]
        ),
    )


if __name__ == "__main__":
    main()
