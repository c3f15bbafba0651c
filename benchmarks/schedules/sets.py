"""What schedules are tried on: tasks with rows of their own, a hundred times as many as another's.

Hebrew morphology has a set of verses for each of three tags, and small molecules one for each of
four properties. No row has the labels of two tasks but in the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.molecules import coulomb_eigenvalues
from polytask import Dataset, Task, load_dataset
from polytask.architectures import create_architecture, create_encoder
from polytask.data import DataSets, Preprocessor

Pair = tuple[dict[str, Tensor], dict[str, Tensor]]
BOOKS = {
    "pos": ("Gen", "Exod", "Lev", "Num", "Deut"),
    "gender": ("Josh", "Judg", "1Sam", "2Sam"),
    "number": ("1Kgs", "2Kgs"),
}
TEST_BOOKS = ("Ruth", "Esth", "Jonah", "Neh")
LENGTH = 24
"""Morphemes that are kept of a verse."""
MOLECULES_READ, TESTED = 20000, 2000
BOHR = 0.529177
ELEMENTS = (1, 6, 7, 8, 9)


@dataclass(frozen=True)
class Collected:
    """All rows, those that each task may take its own from, and the rows of the test."""

    data: Dataset
    pools: dict[str, np.ndarray]
    test: np.ndarray


@dataclass(frozen=True)
class Setting:
    """Tasks and how many rows they have, the network, and how long it is trained."""

    name: str
    rows: dict[str, int]
    """Training rows by task, the largest first."""
    val: int
    """Validation rows of each task."""
    batch: int
    epochs: int
    steps: int
    """Batches an epoch."""
    rates: tuple[float, ...]
    limit: int
    """Of `capped`."""
    encoder: tuple[str, dict[str, Any]]
    unit: str
    """What a test error is measured in; lower is better."""
    what: str
    """The rows, in words."""


def text() -> Collected:
    """Every task has books of its own; the test has all three tags of others."""
    parts: dict[Any, tuple[str, ...]] = {**BOOKS, tuple(BOOKS): TEST_BOOKS}
    sets = DataSets.of(
        {
            tasks: load_dataset("morphhb", books=list(books), length=LENGTH)
            for tasks, books in parts.items()
        }
    )
    ends = np.cumsum([len(dataset) for dataset in sets.sets.values()])
    *pools, test = np.split(np.arange(len(sets.dataset)), ends[:-1])
    return Collected(sets.dataset, dict(zip(BOOKS, pools, strict=True)), test)


def molecules() -> Collected:
    """All tasks take their rows from the same molecules; the test has all four properties."""
    data = load_dataset("qm9", rows=MOLECULES_READ, targets=list(MOLECULES.rows))
    numeric = described(data.inputs["atoms"], data.inputs["positions"])
    order = np.random.default_rng(0).permutation(len(data))
    return Collected(
        replace(data, inputs={"numeric": numeric}),
        dict.fromkeys(MOLECULES.rows, order[TESTED:]),
        order[:TESTED],
    )


def described(atoms: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Molecules as float32 [N, A + 5]: eigenvalues of Coulomb matrices, and counts of elements.

    The matrices are in atomic units, as in the paper.
    """
    values = coulomb_eigenvalues(atoms, positions, BOHR)
    counts = np.stack([(atoms == number).sum(1) for number in ELEMENTS], axis=1)
    return np.concatenate([values, counts], axis=1).astype(np.float32)


TEXT = Setting(
    name="text",
    rows={"pos": 3000, "gender": 300, "number": 30},
    val=100,
    batch=16,
    epochs=8,
    steps=30,
    rates=(3e-3, 1e-2),
    limit=300,
    encoder=("transformer", {"width": 32, "layers": 1}),
    unit="wrong tags, %",
    what="Hebrew verses, a tag at every morpheme: pos from Genesis to Deuteronomy, gender from "
    "Joshua to 2 Samuel, number from 1 and 2 Kings; the test is all of Ruth, Esther, Jonah and "
    f"Nehemiah. {LENGTH} morphemes of a verse are kept",
)
MOLECULES = Setting(
    name="molecules",
    rows={"gap": 10000, "homo": 1000, "alpha": 300, "Cv": 100},
    val=200,
    batch=32,
    epochs=8,
    steps=75,
    rates=(1e-3, 3e-3),
    limit=1000,
    encoder=("mlp", {"hidden": (128, 64)}),
    unit="mean absolute error, % of the standard deviation",
    what="QM9 molecules as eigenvalues of their Coulomb matrices and counts of elements; the test "
    f"is {TESTED:,} others with all four properties",
)
SETTINGS: dict[str, tuple[Setting, Callable[[], Collected]]] = {
    "text": (TEXT, text),
    "molecules": (MOLECULES, molecules),
}


@dataclass(frozen=True)
class Drawn:
    """The data of one seed."""

    setting: Setting
    seed: int
    tasks: dict[str, Task]
    spec: Any
    train: dict[str, Pair]
    val: dict[str, Pair]
    test: Pair
    """With labels of all tasks."""

    def network(self, tasks: Sequence[str]) -> nn.Module:
        """Hard sharing; its weights are drawn by the seed."""
        torch.manual_seed(self.seed)
        name, options = self.setting.encoder
        encoder = create_encoder(name, self.spec, **options)
        return create_architecture("hard_sharing", encoder, {n: self.tasks[n] for n in tasks})

    def labels(self, task: str) -> int:
        """Labels in the training rows of a task."""
        return int(self.tasks[task].labelled(self.train[task][1][task]).sum())

    def error(self, task: str, score: float) -> float:
        """A test score in the setting's unit."""
        if self.tasks[task].kind == "multiclass":
            return 100 - 100 * score
        return 100 * score / float(self.test[1][task].double().std())


def draw(setting: Setting, collected: Collected, seed: int) -> Drawn:
    """Training and validation rows by seed; those of the test are always the same."""
    data, taken = collected.data, collected.test
    generator = np.random.default_rng(seed + 1)
    train, val = {}, {}
    for task, size in setting.rows.items():
        free = generator.permutation(np.setdiff1d(collected.pools[task], taken))
        train[task], val[task] = free[:size], free[size : size + setting.val]
        taken = np.concatenate([taken, train[task], val[task]])
    prepared = Preprocessor.fit(data, np.concatenate(list(train.values())))
    inputs = prepared.transform(data.inputs)
    targets = {name: torch.from_numpy(values) for name, values in data.targets.items()}

    def pair(rows: np.ndarray, *tasks: str) -> Pair:
        at = torch.from_numpy(rows)
        return (
            {name: value[at] for name, value in inputs.items()},
            {name: targets[name][at] for name in tasks},
        )

    return Drawn(
        setting,
        seed,
        {name: task.fitted(data.targets[name][train[name]]) for name, task in data.tasks.items()},
        prepared.spec,
        {task: pair(rows, task) for task, rows in train.items()},
        {task: pair(rows, task) for task, rows in val.items()},
        pair(collected.test, *setting.rows),
    )
