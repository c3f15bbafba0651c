"""ARML's claim on digits and census income with few labels: who beats equal weights?

`python -m benchmarks.auxiliary.arml`

With few labels, learned weights of helpers are said to beat equal ones and to come close to those
of a grid search, harmful helpers going to zero. One helper here is the main task's labels,
permuted. What is trained is kept in `runs/auxiliary_arml`, a file a seed, so that the program can
be stopped and started again. Writes `benchmarks/results/auxiliary_arml.md`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.auxiliary.arml_data import SETTINGS, SHUFFLED, Drawn, Setting, draw
from benchmarks.auxiliary.arml_tables import ARML, GRID, UNIFORM, WITHOUT, Fits, section, summary
from benchmarks.tables import keep
from polytask.files import write_text
from polytask.kernel.step import Step
from polytask.training import Callback, Trainer, build_method

OUT = Path("runs/auxiliary_arml")
SEEDS = 5
ALONE = "main alone"
LEARNED: dict[str, tuple[str, dict[str, Any]]] = {
    ARML: ("arml", {"statistic": "exact"}),
    "arml, qp, tail": ("arml", {"statistic": "tail"}),
    "arml, projected": ("arml", {"solver": "projected", "every": 5, "statistic": "exact"}),
    "gcs, weighted": ("gcs", {"form": "weighted"}),
    "ol_aux": ("ol_aux", {}),
    "adaloss": ("adaloss", {}),
    "uncertainty": ("uncertainty", {}),
}
INTRODUCTION = f"""# ARML: helper weights with few labels

Made by `python -m benchmarks.auxiliary.arml`. Every method has hard sharing from the same first
weights, the same batches, Adam, scale='sum', and two learning rates; epoch, rate and the setting
of the grid are chosen by the validation loss of the main task. Methods are compared on the same
seeds; each draws training, labelled and validation rows anew, and the test rows are always the
same. Differences have 95 % t-intervals; negative = better. The word behind is 'better' or 'worse'
where p, adjusted by Holm for the number of lines, is below 0.05; 'leans' so where the interval
alone leaves out 0; else 'tie'.

`{GRID}`: the setting of constant weights with the least validation loss. It trains several
times as often as the others, and validation has more labels than training, so it chooses on more
than the others learn from. `{ARML}` and `arml, projected` read the gradients of all shared
parameters, as the paper does ('projected' moves every 5 steps, not every 20: the training is
short); `arml, qp, tail` and `gcs` read the last shared layers, which is the default."""


class Geometry(Callback):
    """Mean cosine of each helper's gradient with the main one's, and mean length against it."""

    def __init__(self, main: str) -> None:
        self.main = main
        self.steps = 0
        self.cosines: dict[str, float] = {}
        self.lengths: dict[str, float] = {}

    def on_grad_computed(self, trainer: Trainer, step: Step) -> None:
        """Add the Gramian that the step was decided from."""
        if step.gramian is None:
            return
        sizes = step.gramian.diagonal().clamp_min(1e-30).sqrt()
        row = step.tasks.index(self.main)
        self._add(self.cosines, step.tasks, step.gramian[row] / sizes / sizes[row])
        self._add(self.lengths, step.tasks, sizes / sizes[row])
        self.steps += 1

    def _add(self, sums: dict[str, float], tasks: tuple[str, ...], values: Tensor) -> None:
        for name, value in zip(tasks, values.tolist(), strict=True):
            sums[name] = sums.get(name, 0.0) + value

    def means(self) -> dict[str, dict[str, float]]:
        """By word and task; empty for methods that read no gradients."""
        found = {"cosine": self.cosines, "length": self.lengths}
        return {
            word: {name: total / self.steps for name, total in sums.items()}
            for word, sums in found.items()
            if sums
        }


def candidates(setting: Setting) -> dict[str, tuple[str, dict[str, Any]]]:
    """Everything that is trained: the learned weights and the grid of constant ones."""
    named = {
        UNIFORM: dict.fromkeys(setting.helpers, 1.0),
        ALONE: dict.fromkeys(setting.helpers, 0.0),
        WITHOUT: {name: float(name != SHUFFLED) for name in setting.helpers},
    }
    for weights in setting.constants():
        if weights not in named.values():
            named[f"{GRID}: {', '.join(f'{weight:g}' for weight in weights.values())}"] = weights
    constant = {name: ("linear", {"weights": weights}) for name, weights in named.items()}
    return {**constant, **LEARNED}


def train(drawn: Drawn, method: str, options: dict[str, Any], rate: float) -> dict[str, Any]:
    """One training, judged at the epoch with the least validation loss."""
    setting = drawn.setting
    geometry = Geometry(setting.main)
    trainer = Trainer(
        drawn.network(),
        drawn.tasks,
        method=build_method(method, drawn.tasks, scale="sum", **options),
        lr=rate,
        epochs=setting.epochs,
        select="loss",
        callbacks=[geometry],
        device="cpu",
        seed=drawn.seed,
        progress=False,
    )
    history = trainer.fit(drawn.train, drawn.val)
    assert history.best_epoch is not None, "there is a validation part"
    best = history.epochs[history.best_epoch - 1]
    tested = trainer.evaluate(drawn.test)
    means = {
        name: sum(map(float, history.series(f"weight/{name}"))) / setting.epochs
        for name in drawn.tasks
    }
    primary = drawn.tasks[setting.main].primary.name
    return {
        "rate": rate,
        "val": float(best[f"val/{setting.main}/loss"]),
        "loss": float(tested[f"test/{setting.main}/loss"]),
        "wrong": 100 - 100 * float(tested[f"test/{setting.main}/{primary}"]),
        "weights": {name: means[name] / means[setting.main] for name in setting.helpers},
        **geometry.means(),
    }


def fits(setting: Setting, seed: int) -> Fits:
    """The best rate of every candidate on one seed, and of the grid; kept in a file."""
    wanted = candidates(setting)
    known = json.loads(json.dumps({**asdict(setting), "seed": seed, "candidates": wanted}))
    path = OUT / f"{setting.name}_{seed}.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if held.get("known") != known:
        drawn = draw(setting, seed)
        held = {
            "known": known,
            "fits": {
                name: [train(drawn, method, options, rate) for rate in setting.rates]
                for name, (method, options) in wanted.items()
            },
        }
        OUT.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(held, indent=1) + "\n")
    best = {
        name: min(tried, key=lambda fit: float(fit["val"])) for name, tried in held["fits"].items()
    }
    constant = [best[name] for name, (method, _) in wanted.items() if method == "linear"]
    shown = {UNIFORM: best[UNIFORM], ALONE: best[ALONE], WITHOUT: best[WITHOUT]}
    return {
        **shown,
        GRID: min(constant, key=lambda fit: float(fit["val"])),
        **{name: best[name] for name in LEARNED},
    }


def main() -> None:
    """Train what is not there yet and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, help="instead of each set's own number, for a trial")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    parts: list[str] = []
    every: dict[str, list[Fits]] = {}
    for setting in SETTINGS:
        if chosen.epochs:
            setting = replace(setting, epochs=chosen.epochs)
        found = []
        for seed in range(chosen.seeds):
            found.append(fits(setting, seed))
            print(f"{setting.name}: seed {seed} is there", flush=True)
        every[setting.name] = found
        parts.append(section(setting, found))
    keep("auxiliary_arml", "\n\n".join([INTRODUCTION, summary(every), *parts]))


if __name__ == "__main__":
    main()
