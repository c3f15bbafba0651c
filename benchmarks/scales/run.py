"""One target multiplied by 1000: which ways of training still learn all tasks, or do not notice?

`python -m benchmarks.scales.run`

Equal weights on standardised targets against raw targets with nothing done, with weights from
losses or gradients, and with PopArt. What is trained is kept in `runs/scales`, a file a seed, so
that the program can be stopped and started again. Writes `benchmarks/results/scales.md`.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scales.data import SETTINGS, Drawn, Setting, draw
from benchmarks.scales.tables import INTRODUCTION, REFERENCE, Fit, Seed, section, summary
from benchmarks.tables import keep
from polytask import registry
from polytask.architectures import create_architecture, create_encoder
from polytask.data import Batches
from polytask.files import write_text
from polytask.tasks import evaluate
from polytask.training import Trainer, build_method

OUT = Path("runs/scales")
SEEDS = 5
FACTORS = {"1": 1.0, "1000": 1000.0}
"""What the one target is multiplied with."""


@dataclass(frozen=True)
class Contender:
    """A way of training: a method on targets that are raw, standardised or under PopArt."""

    method: str
    standardised: bool = False
    popart: dict[str, Any] | None = None


CONTENDERS = {
    REFERENCE: Contender("linear", standardised=True),
    "equal, raw": Contender("linear"),
    "PopArt": Contender("linear", popart={}),
    "PopArt, start=unit": Contender("linear", popart={"start": "unit"}),
    "scale_invariant, raw": Contender("scale_invariant"),
    "uncertainty, raw": Contender("uncertainty"),
    "imtl_l, raw": Contender("imtl_l"),
    "pcgrad, raw": Contender("pcgrad"),
    "nash_mtl, raw": Contender("nash_mtl"),
}


def train(setting: Setting, drawn: Drawn, how: Contender, factor: float, rate: float) -> Fit:
    """One training, judged at the epoch with the greatest mean gain on validation."""
    targets = {
        name: values * np.float32(factor if name == setting.target else 1.0)
        for name, values in drawn.targets.items()
    }
    scales = {name: task.fitted(targets[name][drawn.train]) for name, task in drawn.tasks.items()}
    tasks = scales if how.standardised else dict(drawn.tasks)
    parts = [
        (
            {name: values[rows] for name, values in drawn.inputs.items()},
            {name: torch.from_numpy(values[rows]) for name, values in targets.items()},
        )
        for rows in (drawn.train, drawn.val, drawn.test)
    ]
    torch.manual_seed(drawn.seed)
    encoder = create_encoder("mlp", drawn.spec, hidden=list(setting.hidden))
    arguments = registry.find("method", how.method).arguments
    common = {"scale": "sum"} if "scale" in arguments else {}
    trainer = Trainer(
        create_architecture("hard_sharing", encoder, tasks),
        tasks,
        method=build_method(how.method, tasks, **common),
        popart=how.popart,
        lr=rate,
        epochs=setting.epochs,
        device="cpu",
        seed=drawn.seed,
        progress=False,
    )
    train_rows = Batches(*parts[0], setting.batch, shuffle=True, seed=drawn.seed)
    history = trainer.fit(train_rows, parts[1])
    assert history.best_epoch is not None, "there is a validation part"
    best = history.epochs[history.best_epoch - 1]
    spread = {name: float(np.std(targets[name][drawn.train], dtype=np.float64)) for name in tasks}
    tested = evaluate(tasks, trainer.outputs(parts[2]), parts[2][1])
    return {
        "rate": rate,
        "val": sum(float(best[f"val/{n}/rmse"]) / spread[n] for n in tasks) / len(tasks),
        "wrong": {n: 100 * float(tested[n]["rmse"]) / spread[n] for n in tasks},
        "warned": any("on the shared parameters" in said for said in history.remarks),
    }


def fits(setting: Setting, seed: int) -> Seed:
    """Every contender on one seed, at the rate that is best on validation; kept in a file."""
    wanted = {name: asdict(how) for name, how in CONTENDERS.items()}
    known = json.loads(json.dumps({**asdict(setting), "seed": seed}))
    path = OUT / f"{setting.name}_{seed}.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if held.get("known") != known:
        held = {"known": known, "wanted": {}, "fits": {}}
    drawn: Drawn | None = None
    for name, how in CONTENDERS.items():
        if held["wanted"].get(name) == wanted[name]:
            continue
        drawn = drawn or draw(setting, seed)
        held["fits"][name] = {
            word: [train(setting, drawn, how, factor, rate) for rate in setting.rates]
            for word, factor in FACTORS.items()
        }
        held["wanted"][name] = wanted[name]
        OUT.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(held, indent=1) + "\n")
    return {
        name: {
            word: min(held["fits"][name][word], key=lambda fit: float(fit["val"]))
            for word in FACTORS
        }
        for name in CONTENDERS
    }


def main() -> None:
    """Train what is not there yet and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, help="instead of each set's own number, for a trial")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    # The remarks are counted in the table.
    logging.getLogger("polytask.training").setLevel(logging.ERROR)
    settings = [replace(s, epochs=chosen.epochs or s.epochs) for s in SETTINGS]
    every: dict[str, list[Seed]] = {setting.name: [] for setting in settings}
    for seed in range(chosen.seeds):
        for setting in settings:
            every[setting.name].append(fits(setting, seed))
            print(f"{setting.name}: seed {seed} is there", flush=True)
    parts = []
    for setting in settings:
        found = every[setting.name]
        steps = setting.epochs * -(-setting.train // setting.batch)
        told = (
            f"{len(found)} seeds; {setting.train} rows to train, {setting.val} to choose "
            f"by, {setting.test} for the test. Multiplied by 1000: {setting.target} "
            f"({setting.unit}). {setting.epochs} epochs, {steps} steps of {setting.batch} rows; "
            f"rates {', '.join(f'{rate:g}' for rate in setting.rates)}."
        )
        parts.append(section(setting.name, told, setting.target, found))
    keep("scales", "\n\n".join([INTRODUCTION, summary(every), *parts]))


if __name__ == "__main__":
    main()
