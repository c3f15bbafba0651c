"""Teacher annealing against plain multi-task and single-task networks: does BAM's claim hold?

`python -m benchmarks.distillation.bam [SET ...] [--seeds N]` runs the studies one after the
other in `runs/distillation`; what is finished is kept, so it can be stopped and started again.
Writes `benchmarks/results/distillation.md` from all that are finished.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import polytask
from benchmarks.distillation.tables import section, summary
from benchmarks.tables import keep

OUT = Path("runs/distillation")
SETS: dict[str, dict[str, Any]] = {
    "yeast": {"data": "yeast", "encoder": {"mlp": {"hidden": [128, 64]}}, "epochs": 30},
    "digits": {
        "data": "digits",
        "encoder": {"resnet": {"width": 8}},
        "epochs": 8,
        "batch_size": 64,
    },
    "morphhb": {
        "data": {"morphhb": {"rows": 600, "length": 32}},
        "targets": ["pos", "person", "gender", "number"],
        "encoder": {"transformer": {"width": 32, "layers": 1}},
        "epochs": 8,
        "batch_size": 32,
    },
}
SEEDS = 5
RATES = (1e-3, 3e-3)
INTRODUCTION = """# Distillation with teacher annealing

Made by `python -m benchmarks.distillation.bam`. Hard sharing with equal weights, plain and
distilled from the separate networks of the same seed with teacher annealing at temperature 1
(BAM, K. Clark et al., ACL 2019, who find that such students match or beat their single-task
teachers and plain multi-task training). A teacher has the whole encoder for its one task. The
learning rate (1e-3 or 3e-3, on seed 0) and the epoch are chosen on validation, for every teacher
by its task, for a shared network once for all tasks; test is judged once.

*Δm*: mean gain over the separate networks, which are the teachers, in percent of their mean score,
positive = better; *over plain*: the paired difference of Δm. Both have 95 % t-intervals over seeds,
widened for test rows that are drawn anew. A word counts from 5 seeds on, where p, adjusted by
Holm for the two questions of a set, is below 0.05; fewer seeds only lean, where all of them agree
in sign. A tie does not show that two are equal: its interval says what is left open. *Tasks above
the teacher*: by their means; told apart are those with p below 0.05, adjusted for the tasks.
*Step*: its time, plain = 1, measured beside other work and so roughly, without the training of the
teachers."""


def study(name: str, seeds: int, workers: int) -> None:
    """Carry out the study of one set in its folder, as far as it is not finished."""
    chosen = SETS[name] | {"seeds": seeds}
    polytask.compare(
        chosen.pop("data"),
        methods=["linear"],
        distill={"from": "single_task", "form": "annealed"},
        lr=RATES,
        out=OUT / name,
        workers=workers,
        **chosen,
    )


def finished() -> dict[str, dict[str, Any]]:
    """The results of all studies that are complete."""
    found = {}
    for name in SETS:
        file = OUT / name / "results.json"
        if file.exists():
            results = json.loads(file.read_text(encoding="utf-8"))
            if results["complete"]:
                found[name] = results
    return found


def main() -> None:
    """Run the studies that were named, or all, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help="yeast, digits, morphhb")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--workers", type=int, default=1, help="processes at once")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.sets if name not in SETS]:
        sys.exit(f"unknown set {', '.join(unknown)}; known: {', '.join(SETS)}")
    for name in chosen.sets or SETS:
        study(name, chosen.seeds, chosen.workers)
    write()


def write() -> None:
    """Write the tables of all studies that are complete, and name those that are not."""
    every = finished()
    parts = [section(name, SETS[name], results) for name, results in every.items()]
    waiting = [name for name in SETS if name not in every]
    left = [f"Not carried out yet: {', '.join(waiting)}."] if waiting else []
    keep("distillation", "\n\n".join([INTRODUCTION, summary(every), *left, *parts]))


if __name__ == "__main__":
    main()
