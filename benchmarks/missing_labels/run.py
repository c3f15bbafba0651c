"""Missing labels: masked training against complete rows, imputed targets and single tasks.

`python -m benchmarks.missing_labels.run [SET ...] [--seeds N]`

10, 50 and 90 % of the labels of real sets are hidden. What is trained is kept in
`runs/missing_labels`, a file a seed, so that the program can be stopped and started again. Writes
`benchmarks/results/missing_labels.md` from the sets that have all seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.missing_labels.data import SETTINGS, SHARES, Drawn, Setting, draw, present
from benchmarks.missing_labels.fits import ALONE, ARMS, IMPUTED, LISTWISE, MASKED, complete, fit
from benchmarks.missing_labels.tables import NONE, Seed, section, summary
from benchmarks.tables import keep
from polytask.files import write_text

OUT = Path("runs/missing_labels")
SEEDS = 5
INTRODUCTION = f"""# Missing labels

Made by `python -m benchmarks.missing_labels.run`. Labels are hidden completely at random, each by
itself, among training and validation rows; the test rows have all. Four ways to train, with the
same encoder, first weights and number of steps:

- *{MASKED}*: one network with hard sharing and equal weights; a missing label takes no part in
  its task's loss. This is what polytask does by itself.
- *{LISTWISE}*: the same on the training rows that have every label (listwise deletion).
- *{IMPUTED}*: the same on filled targets: a missing number is the mean of the task's training
  labels, a missing class the shares of its classes as a soft target.
- *{ALONE}*: a network for each task, each on the rows with its label.

The rate (of two, on the first seed) and the epoch are chosen by the loss on the labels that the
validation rows have, for all ways alike. The error is the mean over the tasks; that of numbers is
in percent of the standard deviation of their test labels, so that about 100 is what a constant
gets. Test rows are always the same; each seed draws the others and what is hidden.

Differences are paired by seed and have 95 % t-intervals; negative = better than masked. The word
is 'better' or 'worse' where p, adjusted by Holm for the lines of a set, is below 0.05, 'leans' so
where the interval alone leaves out 0, else 'tie', which does not show that two are equal. Intervals
are of what seeds draw, not of the test rows, which are fixed."""


def held(setting: Setting, seed: int) -> Seed | None:
    """What was found on a seed with these settings, if it is there."""
    path = OUT / f"{setting.name}_{seed}.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found: Seed | None = content.get("found")
    return found if content.get("known") == known(setting, seed) else None


def known(setting: Setting, seed: int) -> Any:
    """What decides the numbers of a seed, as it stands in its file."""
    return json.loads(json.dumps({**asdict(setting), "seed": seed, "shares": SHARES}))


def train(setting: Setting, seed: int, first: Seed | None) -> None:
    """Train everything on one seed, with the rates of the first, and keep what is found."""
    drawn = draw(setting, seed)
    nothing: dict[str, Any] = dict.fromkeys(ARMS)
    before = first or dict.fromkeys((NONE, *map(str, SHARES)), nothing)
    whole = fit(MASKED, drawn, drawn.targets, before[NONE][MASKED])
    found = {NONE: {MASKED: whole}}
    for share in map(str, SHARES):
        targets = drawn.hidden(float(share))
        found[share] = {arm: fit(arm, drawn, targets, before[share][arm]) for arm in ARMS}
        found[share][MASKED] |= counts(drawn, targets)
    OUT.mkdir(parents=True, exist_ok=True)
    content = {"known": known(setting, seed), "found": found}
    write_text(OUT / f"{setting.name}_{seed}.json", json.dumps(content, indent=1) + "\n")


def counts(drawn: Drawn, targets: dict[str, np.ndarray]) -> dict[str, float]:
    """Training labels a task, on average, and training rows with all of them."""
    there = [present(values[drawn.train]).sum() for values in targets.values()]
    return {"real": float(np.mean(there)), "complete": len(complete(drawn, targets))}


def main() -> None:
    """Train what is not there yet and write the tables of the sets that have all seeds."""
    names = [setting.name for setting in SETTINGS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(names))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.sets if name not in names]:
        sys.exit(f"unknown set {', '.join(unknown)}; known: {', '.join(names)}")
    torch.set_num_threads(1)
    # Seed by seed, so that a program that is stopped has as many of every set.
    for seed in range(chosen.seeds):
        for setting in SETTINGS:
            if setting.name in (chosen.sets or names) and held(setting, seed) is None:
                train(setting, seed, held(setting, 0) if seed else None)
                print(f"{setting.name}: seed {seed} is there", flush=True)
    every = {s: [held(s, seed) for seed in range(chosen.seeds)] for s in SETTINGS}
    whole = {s: [one for one in seeds if one] for s, seeds in every.items() if all(seeds)}
    parts = [section(setting, seeds) for setting, seeds in whole.items()]
    found = {setting.name: seeds for setting, seeds in whole.items()}
    waiting = [name for name in names if name not in found]
    left = [f"Not carried out yet: {', '.join(waiting)}."] if waiting else []
    keep("missing_labels", "\n\n".join([INTRODUCTION, summary(found), *left, *parts]))


if __name__ == "__main__":
    main()
