"""Temperature and annealed mixing when one task has a hundred times the rows of another.

`python -m benchmarks.schedules.run [SET ...]`

Hebrew tags and molecular properties, each task with rows of its own. What is trained is kept in
`runs/schedules`, a file a set and a seed, so that the program can be stopped and started again.
Writes `benchmarks/results/schedules.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.schedules.sets import SETTINGS, Drawn, Setting, draw
from benchmarks.schedules.tables import (
    ALONE,
    INTRODUCTION,
    PROPORTIONAL,
    UNIFORM,
    Fits,
    section,
    summary,
)
from benchmarks.tables import keep
from polytask.data import InTurn, Mixture
from polytask.files import write_text
from polytask.tabular.mixed import examples_seen
from polytask.training import Trainer

OUT = Path("runs/schedules")
SEEDS = 5
JUDGED = 500
"""Rows a batch in validation and test."""


@dataclass(frozen=True)
class Contender:
    """A schedule, how many data sets a step has, and the method that balances them."""

    schedule: Any
    together: int = 1
    method: str = "linear"


def contenders(setting: Setting, targets: dict[str, float]) -> dict[str, Contender]:
    """Everything that is compared; `targets` are the validation scores of each task alone."""
    return {
        PROPORTIONAL: Contender("proportional"),
        "shuffled_union": Contender("shuffled_union"),
        "temperature, alpha .5": Contender({"temperature": {"alpha": 0.5}}),
        "temperature, alpha .25": Contender({"temperature": {"alpha": 0.25}}),
        "annealed": Contender("annealed"),
        f"capped, {setting.limit}": Contender({"capped": {"limit": setting.limit}}),
        UNIFORM: Contender("uniform"),
        "round_robin": Contender("round_robin"),
        "least_progress": Contender("least_progress"),
        "active": Contender({"active": {"targets": targets}}),
        "ucb": Contender({"ucb": {"targets": targets}}),
        "uniform, 2 a step": Contender("uniform", 2, "pcgrad"),
        "most_conflict, 2 a step": Contender("most_conflict", 2, "pcgrad"),
    }


def train(drawn: Drawn, tasks: Sequence[str], contender: Contender, rate: float) -> dict[str, Any]:
    """One training, judged at the epoch that the Trainer chooses on validation."""
    setting = drawn.setting
    trainer = Trainer(
        drawn.network(tasks),
        {name: drawn.tasks[name] for name in tasks},
        method=contender.method,
        lr=rate,
        epochs=setting.epochs,
        device="cpu",
        seed=drawn.seed,
        progress=False,
    )
    mixture = Mixture(
        {name: drawn.train[name] for name in tasks},
        contender.schedule,
        tasks_per_step=contender.together,
        steps_per_epoch=setting.steps // contender.together,
        batch_size=setting.batch,
        seed=drawn.seed,
    )
    history = trainer.fit(mixture, InTurn({name: drawn.val[name] for name in tasks}, JUDGED))
    assert history.best_epoch is not None, "there is a validation part"
    best = history.epochs[history.best_epoch - 1]
    every = tasks[0] if len(tasks) == 1 else tuple(tasks)
    tested = trainer.evaluate(InTurn({every: drawn.test}, JUDGED))
    primary = {name: drawn.tasks[name].primary.name for name in tasks}
    seen = examples_seen(history)
    return {
        "rate": rate,
        "epoch": history.best_epoch,
        "val": float(best["select/mean_gain"]),
        "reached": {name: float(best[f"val/{name}/{primary[name]}"]) for name in tasks},
        "errors": {
            name: drawn.error(name, float(tested[f"test/{name}/{primary[name]}"])) for name in tasks
        },
        "passes": {name: seen.get(name, 0) / drawn.labels(name) for name in tasks},
        "seen": {name: seen.get(name, 0) for name in tasks},
        "starved": _starved(tasks, history.remarks),
    }


def _starved(tasks: Sequence[str], remarks: Sequence[str]) -> list[str]:
    told = [remark for remark in remarks if "was starved" in remark]
    return [name for name in tasks if any(repr(name) in remark for remark in told)]


def fits(setting: Setting, drawn: Drawn) -> Fits:
    """The best rate of every contender on one seed, and of each task alone; kept in a file."""
    named = {name: asdict(contender) for name, contender in contenders(setting, {}).items()}
    known = json.loads(json.dumps({**asdict(setting), "seed": drawn.seed, "contenders": named}))
    path = OUT / f"{setting.name}_{drawn.seed}.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if held.get("known") != known:
        held = {"known": known, "fits": {}}

    def best(name: str, tasks: Sequence[str], contender: Contender) -> dict[str, Any]:
        if name not in held["fits"]:
            held["fits"][name] = [train(drawn, tasks, contender, rate) for rate in setting.rates]
            OUT.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(held, indent=1) + "\n")
        return max(held["fits"][name], key=lambda fit: float(fit["val"]))

    tasks = tuple(setting.rows)
    alone = {task: best(f"{task} alone", [task], Contender("uniform")) for task in tasks}
    targets = {task: float(fit["reached"][task]) for task, fit in alone.items()}
    together = {
        name: best(name, tasks, contender)
        for name, contender in contenders(setting, targets).items()
    }
    words = ("errors", "passes", "seen")
    whole = {word: {task: fit[word][task] for task, fit in alone.items()} for word in words}
    return {ALONE: {**whole, "starved": []}, **together}


def main() -> None:
    """Train what is not there yet and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", help=f"{', '.join(SETTINGS)}; all by default")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, help="an epoch, for a trial; writes no result")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.sets if name not in SETTINGS]:
        sys.exit(f"unknown set {', '.join(unknown)}; known: {', '.join(SETTINGS)}")
    torch.set_num_threads(1)
    settings = {name: SETTINGS[name] for name in chosen.sets or SETTINGS}
    if chosen.steps:
        settings = {
            n: (replace(s, name=f"{n}_trial", steps=chosen.steps), c)
            for n, (s, c) in settings.items()
        }
    collected = {name: collect() for name, (_, collect) in settings.items()}
    every: dict[str, list[Fits]] = {name: [] for name in settings}
    for seed in range(chosen.seeds):
        for name, (setting, _) in settings.items():
            every[name].append(fits(setting, draw(setting, collected[name], seed)))
            print(f"{name}: seed {seed} is there", flush=True)
    parts = [
        section(setting, every[name], len(collected[name].test))
        for name, (setting, _) in settings.items()
    ]
    written = "\n\n".join([INTRODUCTION, summary(every), *parts])
    if chosen.steps:
        print(written)
    else:
        keep("schedules", written)


if __name__ == "__main__":
    main()
