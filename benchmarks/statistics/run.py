"""Agreement of cheap gradient statistics with the exact one, beside mini-batch noise.

`python -m benchmarks statistics`

Along one ordinary training run (Adam on the plain sum), every few steps each method decides from
each statistic of the same batch. Reported is the cosine between its update and the update decided
from the exact Gramian, *after projecting out the plain sum of the gradients*: the plain cosine
flatters everything. 'noise' is the exact statistic of another mini-batch: a statistic that agrees
better than that loses nothing worth having.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.tables import keep, markdown
from benchmarks.timing import machine
from polytask import create_method, load_dataset
from polytask.architectures import create_architecture, create_encoder
from polytask.data import Preprocessor, make_splits
from polytask.kernel.measure import Discovery, measure
from polytask.kernel.problem import Problem
from polytask.kernel.statistic import Statistic
from polytask.optimization.audit import agreement

METHODS = ("upgrad", "mgda", "imtl_g", "cagrad", "aligned_mtl")
STATISTICS: dict[str, dict[str, Any]] = {
    "tail (budget)": {"kind": "tail", "budget": 0.2},
    "tail 1": {"kind": "tail", "depth": 1},
    "tail 2": {"kind": "tail", "depth": 2},
    "features": {"kind": "features"},
}


@dataclass
class Case:
    """A data set on a network."""

    name: str
    dataset: str
    encoder: str
    options: dict[str, object]


CASES = [
    Case("yeast, 14 tasks, MLP", "yeast", "mlp", {"hidden": (256, 256, 256)}),
    Case("adult, 3 tasks, MLP", "adult", "mlp", {"hidden": (256, 256, 256)}),
    Case("digits, 3 tasks, residual CNN", "digits", "resnet", {"width": 32}),
]


def main() -> None:
    """Measure and write `results/statistics.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    columns = [*STATISTICS, "noise"]
    rows = []
    for case in CASES:
        found: dict[tuple[str, str], list[float]] = {}
        for seed in range(options.seeds):
            for key, value in follow(case, seed, options.steps, options.every):
                if math.isfinite(value):
                    found.setdefault(key, []).append(value)
        for i, method in enumerate(METHODS):
            cells = [_cell(found.get((method, column), [])) for column in columns]
            rows.append([case.name if i == 0 else "", method, *cells])
        print(rows[-len(METHODS) :], flush=True)
    table = markdown(["data and network", "method", *columns], rows)
    keep(
        "statistics",
        "# Agreement with the exact statistic\n\nMade by `python -m benchmarks statistics` "
        f"({options.seeds} seeds, {options.steps} steps of batch 256, every {options.every}th "
        f"measured) on {machine('cpu')}. Residual cosine: mean ± standard deviation over steps. "
        "'tail (budget)' is the default.\n\n" + table,
    )


def follow(
    case: Case, seed: int, steps: int, every: int
) -> Iterator[tuple[tuple[str, str], float]]:
    """Train on the plain sum and yield ((method, statistic), residual cosine)."""
    torch.manual_seed(seed)
    data = load_dataset(case.dataset)
    train = make_splits(data, seed=seed)["train"]
    tasks = {name: task.fitted(data.targets[name][train]) for name, task in data.tasks.items()}
    prepared = Preprocessor.fit(data, train)
    inputs = prepared.transform({k: v[train] for k, v in data.inputs.items()})
    targets = {k: torch.from_numpy(v[train]) for k, v in data.targets.items()}
    encoder = create_encoder(case.encoder, prepared.spec, **case.options)
    model = create_architecture("hard_sharing", encoder, tasks)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    discoveries = {name: Discovery() for name in [*STATISTICS, "exact"]}

    def problem() -> tuple[Problem, Tensor]:
        rows = torch.randint(len(train), (256,))
        batch = {k: v[rows] for k, v in inputs.items()}
        outputs, features = model(batch, return_features=True)
        losses = [
            task.loss(outputs[name], targets[name][rows]).value for name, task in tasks.items()
        ]
        return Problem(tuple(tasks), tuple(losses)), features

    for step in range(steps):
        optimizer.zero_grad()
        now, features = problem()
        if step % every == 0:
            exact = measure(now, "exact", discovery=discoveries["exact"]).gramian
            other = measure(problem()[0], "exact", discovery=discoveries["exact"]).gramian
            seen = {
                name: measure(
                    now, **words, turn=step, discovery=discoveries[name], cut=[features]
                ).gramian
                for name, words in STATISTICS.items()
            } | {"noise": other}
            for method in METHODS:
                want = decide(method, now, exact)
                for name, gramian in seen.items():
                    have = decide(method, now, gramian)
                    yield (method, name), agreement(exact, have, want)["residual_cosine"]
        sum(now.losses).backward()  # type: ignore[union-attr]
        optimizer.step()


def decide(method: str, problem: Problem, gramian: Tensor) -> Tensor:
    """The weights that a method takes from a Gramian."""
    return create_method(method).decide(Statistic(problem.tasks, problem.values, gramian))


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    found = torch.tensor(values)
    return f"{found.mean():.2f} ± {found.std():.2f}"


if __name__ == "__main__":
    main()
