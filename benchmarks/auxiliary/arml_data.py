"""What ARML is tried on: digits and census income with few labels, and one helper that is noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polytask import Dataset, Task, load_dataset
from polytask.architectures import create_architecture, create_encoder
from polytask.auxiliary import Construction, construct, create_auxiliary
from polytask.data import Batches, Preprocessor

SHUFFLED = "shuffled"
UNKNOWN = -100
Part = tuple[dict[str, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Setting:
    """A data set, how few labels it keeps, the network, and the grid of constant weights."""

    name: str
    main: str
    recipes: dict[str, dict[str, Any]]
    """Helpers that are constructed; those that are columns of the data set come by themselves."""
    labelled: int
    pool: int
    """Training rows, the labelled ones included."""
    val: int
    test: int
    batch: tuple[int, ...]
    """Rows of a batch: labelled ones, others of the pool, and rows that a recipe adds."""
    epochs: int
    steps: int
    """Steps an epoch."""
    rates: tuple[float, ...]
    encoder: tuple[str, dict[str, Any]]
    measure: str
    """What 100 minus the test score in percent is called; lower is better."""
    grid: tuple[tuple[tuple[str, ...], tuple[float, ...]], ...]
    """Groups of helpers with one weight each, and the weights tried."""

    @property
    def helpers(self) -> list[str]:
        """All tasks but the main one, the noise last."""
        return [helper for group, _ in self.grid for helper in group]

    def constants(self) -> list[dict[str, float]]:
        """All settings of the grid: a weight by helper."""
        groups, tried = zip(*self.grid, strict=True)
        return [
            {name: weight for group, weight in zip(groups, chosen, strict=True) for name in group}
            for chosen in product(*tried)
        ]


DIGITS = Setting(
    name="digits",
    main="digit",
    recipes={"rotation": {}, "reconstruction": {}, "pseudo_tasks": {"copies": 1}},
    labelled=100,
    pool=850,
    val=247,
    test=700,
    batch=(32, 16, 32),
    epochs=8,
    steps=15,
    rates=(3e-3, 1e-2),
    encoder=("resnet", {"width": 8}),
    measure="wrong, %",
    grid=(
        (("rotation", "reconstruction"), (0.0, 0.3, 1.0)),
        (("digit_pseudo_1",), (0.0, 1.0)),
        ((SHUFFLED,), (0.0, 1.0)),
    ),
)
ADULT = Setting(
    name="adult",
    main="income",
    recipes={},
    labelled=200,
    pool=3000,
    val=500,
    test=10000,
    batch=(64, 64),
    epochs=8,
    steps=15,
    rates=(2e-3, 5e-3),
    encoder=("mlp", {"hidden": (64, 64)}),
    measure="1 - AUROC, %",
    grid=(
        (("never_married", "college"), (0.0, 0.3, 1.0)),
        ((SHUFFLED,), (0.0, 0.3, 1.0)),
    ),
)
SETTINGS = (DIGITS, ADULT)


class FewLabels:
    """Batches with a fixed number of rows of each group, drawn by (seed, epoch) alone.

    In batches of all rows, a few of a hundred labels would be in some and none in others.
    """

    def __init__(
        self, part: Part, groups: Sequence[tuple[np.ndarray, int]], steps: int, seed: int
    ) -> None:
        self.inputs, self.targets = part
        self.groups = groups
        self.steps = steps
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch with the next iteration."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Part]:
        generator = np.random.default_rng([self.seed, self.epoch])
        for _ in range(self.steps):
            drawn = [generator.choice(rows, few, replace=False) for rows, few in self.groups]
            rows = torch.from_numpy(np.concatenate(drawn))
            yield (
                {name: values[rows] for name, values in self.inputs.items()},
                {name: values[rows] for name, values in self.targets.items()},
            )


@dataclass(frozen=True)
class Drawn:
    """The data of one seed."""

    setting: Setting
    seed: int
    tasks: dict[str, Task]
    spec: Any
    train: FewLabels
    val: Batches
    test: Batches

    def network(self) -> nn.Module:
        """Hard sharing; its weights are drawn by the seed."""
        torch.manual_seed(self.seed)
        name, options = self.setting.encoder
        encoder = create_encoder(name, self.spec, **options)
        return create_architecture("hard_sharing", encoder, self.tasks)


def draw(setting: Setting, seed: int) -> Drawn:
    """Training, labelled and validation rows by seed; those of the test are always the same."""
    data = load_dataset(setting.name)
    order = np.random.default_rng(0).permutation(len(data))
    test, rest = order[: setting.test], order[setting.test :]
    rows = np.random.default_rng(seed + 1).permutation(rest)[: setting.pool + setting.val]
    pool, val = rows[: setting.pool], rows[setting.pool :]
    few = with_few_labels(data, setting, pool, seed)
    recipes: list[Construction] = [
        create_auxiliary(name, **options) for name, options in setting.recipes.items()
    ]
    whole, train = construct(recipes, few, pool, seed)
    prepared = Preprocessor.fit(few, pool)
    inputs = prepared.transform(whole.inputs)
    targets = {name: torch.from_numpy(values) for name, values in whole.targets.items()}
    groups = [pool[: setting.labelled], pool[setting.labelled :], train[len(pool) :]]
    main = {setting.main: targets[setting.main]}

    def judged(part: np.ndarray) -> Batches:
        at = torch.from_numpy(part)
        return Batches(
            {k: v[at] for k, v in inputs.items()}, {k: v[at] for k, v in main.items()}, 2000
        )

    sizes = zip(groups, setting.batch, strict=False)  # a table has no added rows
    return Drawn(
        setting,
        seed,
        {name: task.fitted(whole.targets[name][train]) for name, task in whole.tasks.items()},
        prepared.spec,
        FewLabels((inputs, targets), list(sizes), setting.steps, seed),
        judged(val),
        judged(test),
    )


def with_few_labels(data: Dataset, setting: Setting, pool: np.ndarray, seed: int) -> Dataset:
    """The pool keeps its first labels of the main task; a helper gets all of them, permuted.

    Of images only the main task is kept, since the other tasks follow from it.
    """
    main = setting.main
    kept = [main] if "image" in data.inputs else list(data.tasks)
    tasks = {
        name: replace(data.tasks[name], role="main" if name == main else "auxiliary")
        for name in kept
    }
    targets = {name: data.targets[name].copy() for name in kept}
    noise = np.full(len(data), UNKNOWN, np.int64)
    noise[pool] = np.random.default_rng([seed, 1]).permutation(targets[main][pool])
    targets[main][pool[setting.labelled :]] = UNKNOWN
    return replace(
        data,
        tasks={**tasks, SHUFFLED: replace(tasks[main], name=SHUFFLED, role="auxiliary")},
        targets={**targets, SHUFFLED: noise},
    )
