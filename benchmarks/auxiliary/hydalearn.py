"""HydaLearn's two claims on constructed data, and census income with few labels.

`python -m benchmarks.auxiliary.hydalearn`

*Drift*: the helper is the main task, and its opposite from the middle of the training on. *Batch
composition*: the helper is the main task on a sub-population and noise on the rest, whose share
differs from batch to batch. *Census income*: 500 rows have a label of the main task, 5,000 have
those of the two helpers. Writes `benchmarks/results/auxiliary_hydalearn.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.auxiliary.hydalearn_claims import claims, verdict
from benchmarks.tables import keep, markdown
from polytask import create_method, list_methods, load_dataset
from polytask.architectures import create_architecture, create_encoder
from polytask.data import Preprocessor

Losses = dict[str, Tensor]
LABELLED, POOL, HELD_OUT, TEST = 500, 5000, 500, 10000
RATES = (1e-3, 3e-3)
EPOCHS, SIZE = 8, 256
SEEDS = 5
CENSUS: dict[str, tuple[str, dict[str, Any]]] = {
    "equal weights": ("linear", {}),
    "main alone": ("linear", {"weights": {"never_married": 0.0, "college": 0.0}}),
    "gcs": ("gcs", {"main": "income"}),
    "arml": ("arml", {"main": "income"}),
    "hydalearn": ("hydalearn", {"main": "income"}),
    "hydalearn, exact": ("hydalearn", {"main": "income", "look_ahead": "exact"}),
    "hydalearn, validation": ("hydalearn", {"main": "income", "evaluate": "validation"}),
}


def main() -> None:
    """Measure and write the tables."""
    keep(
        "auxiliary_hydalearn",
        "# HydaLearn: its claims, and census income with few labels\n\nMade by `python -m "
        "benchmarks.auxiliary.hydalearn`. 95 % t-intervals over seeds, of paired differences "
        "where two methods are compared, which tie where it holds 0; not corrected for their "
        "number.\n\n" + "\n\n".join([claims(), census()]),
    )


@dataclass(frozen=True)
class Census:
    """The data of one seed: inputs and targets of three parts."""

    tasks: dict[str, Any]
    spec: Any
    parts: dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]

    def take(self, part: str, rows: Tensor | slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Some rows of a part."""
        inputs, targets = self.parts[part]
        return {k: v[rows] for k, v in inputs.items()}, {k: v[rows] for k, v in targets.items()}


def draw(seed: int) -> Census:
    """Rows for training and validation by seed; those for the test are always the same."""
    data = load_dataset("adult")
    order = np.random.default_rng(0).permutation(len(data))
    test, rest = order[:TEST], order[TEST:]
    rows = np.random.default_rng(seed + 1).permutation(rest)[: POOL + HELD_OUT]
    parts = {"train": rows[:POOL], "val": rows[POOL:], "test": test}
    prepared = Preprocessor.fit(data, parts["train"])
    tasks = {n: t.fitted(data.targets[n][parts["train"]]) for n, t in data.tasks.items()}
    found = {}
    for part, which in parts.items():
        inputs = prepared.transform({k: v[which] for k, v in data.inputs.items()})
        found[part] = (inputs, {k: torch.from_numpy(v[which]) for k, v in data.targets.items()})
    return Census(tasks, prepared.spec, found)


def train_census(census: Census, seed: int, name: str, rate: float) -> tuple[float, float, float]:
    """Validation loss of the best epoch, and the test loss and error of that epoch."""
    method, options = CENSUS[name]
    balancer = create_method(method, scale="sum", **options)
    torch.manual_seed(seed)
    encoder = create_encoder("mlp", census.spec, hidden=(64, 64))
    model = create_architecture("hard_sharing", encoder, census.tasks)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    best = (float("inf"), 0.0, 0.0)

    def losses_on(part: str, rows: Tensor) -> Losses:
        inputs, targets = census.take(part, rows)
        outputs = model(inputs)
        found = {}
        for task, spec in census.tasks.items():
            # Only the first rows of the pool have a label of the main task.
            known = rows < LABELLED if (part, task) == ("train", "income") else rows >= 0
            if bool(known.any()):
                found[task] = spec.loss(outputs[task][known], targets[task][known]).value
        return found

    for _ in range(EPOCHS):
        model.train()
        for rows in torch.randperm(POOL, generator=generator).split(SIZE):
            held_out = torch.randint(HELD_OUT, (SIZE,), generator=generator)
            optimizer.zero_grad()
            balancer.backward(
                losses_on("train", rows),
                closure=partial(losses_on, "train", rows),
                validation=partial(losses_on, "val", held_out),
            )
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val, _ = judged(model, census, "val")
            if val < best[0]:
                best = (val, *judged(model, census, "test"))
    return best


def judged(model: nn.Module, census: Census, part: str) -> tuple[float, float]:
    """Cross-entropy and share of wrong answers of the main task."""
    inputs, targets = census.parts[part]
    output, target = model(inputs)["income"], targets["income"]
    task = census.tasks["income"]
    wrong = (output.reshape(-1) > 0) != (target.reshape(-1) > 0)
    return float(task.loss(output, target).value), float(wrong.float().mean())


def census() -> str:
    """The table of census income."""
    names = [name for name, (method, _) in CENSUS.items() if method in list_methods()]
    losses: dict[str, list[float]] = {name: [] for name in names}
    wrong: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(SEEDS):
        drawn = draw(seed)
        for name in names:
            # One search budget for all; the rate is chosen by the validation loss.
            best = min(train_census(drawn, seed, name, rate) for rate in RATES)
            losses[name].append(best[1])
            wrong[name].append(100 * best[2])
        print(f"census seed {seed} done", flush=True)
    rows = []
    for name in names:
        against = [
            "" if name == other else verdict(np.subtract(losses[name], losses[other]))
            for other in ("equal weights", "main alone")
        ]
        rows.append([name, f"{np.mean(losses[name]):.4f}", f"{np.mean(wrong[name]):.2f}", *against])
    header = ["method", "test loss", "wrong, %", "loss - equal weights", "loss - main alone"]
    return (
        f"## Census income\n\n{SEEDS} seeds; {LABELLED} of {POOL} training rows have a "
        f"label of the main task (income), {HELD_OUT} rows to choose epoch and learning rate "
        f"({' or '.join(f'{rate:g}' for rate in RATES)}), one test set of {TEST} rows. Helpers: "
        "never married, college. Hard sharing, two layers of 64, Adam, scale='sum'. Loss: "
        "cross-entropy, lower is better.\n\n" + markdown(header, rows)
    )


if __name__ == "__main__":
    main()
