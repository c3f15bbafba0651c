"""Real sets for the trial of missing labels: rows by seed, labels hidden completely at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.molecules import coulomb_eigenvalues
from polytask import Dataset, Task, load_dataset
from polytask.data import InputSpec, Preprocessor

SHARES = (0.1, 0.5, 0.9)
GENES = tuple(f"Class{i}" for i in range(1, 7))
MOLECULES = 2600
PROPERTIES = ("mu", "alpha", "homo", "lumo")
UNKNOWN = -100


@dataclass(frozen=True)
class Setting:
    """A data set, how many rows its parts get, and the training."""

    name: str
    measure: str
    """The error, lower is better; the mean over the tasks is judged."""
    train: int
    val: int
    test: int
    hidden: tuple[int, ...] = (64, 32)
    """Layers of the encoder mlp."""
    batch: int = 128
    epochs: int = 6
    steps: int = 20
    """Steps an epoch, the same for every training whatever its rows."""
    rates: tuple[float, ...] = (2e-3, 8e-3)


YEAST = Setting("yeast", "1 - AUROC, %", 1400, 400, 617)
JURA = Setting("jura", "RMSE, % of the spread", 190, 69, 100)
DIGITS = Setting("digits", "wrong, %", 900, 297, 600)
QM9 = Setting("qm9", "RMSE, % of the spread", 1200, 400, 1000)
SETTINGS = (YEAST, JURA, DIGITS, QM9)


def read(name: str) -> Dataset:
    """The data set as it is tried: numeric columns, complete labels, one metric a task."""
    return _READ[name]()


def _yeast() -> Dataset:
    """Six of the fourteen functions: complete rows are rarer the more tasks there are."""
    return _kept(load_dataset("yeast"), GENES, "auroc")


def _jura() -> Dataset:
    data = load_dataset("jura")
    return _kept(data, list(data.tasks), "rmse")


def _digits() -> Dataset:
    """The grey values as columns: one small network fits all sets."""
    data = load_dataset("digits")
    pixels = data.inputs["image"].reshape(len(data), -1)
    return _kept(replace(data, inputs={"numeric": pixels}), list(data.tasks), "accuracy")


def _qm9() -> Dataset:
    """Molecules as the eigenvalues of their Coulomb matrix."""
    data = load_dataset("qm9", rows=MOLECULES, targets=list(PROPERTIES))
    # Distances in angstrom, not the atomic units of the paper.
    found = coulomb_eigenvalues(data.inputs["atoms"], data.inputs["positions"])
    columns = found.astype(np.float32)
    return _kept(replace(data, inputs={"numeric": columns}), list(PROPERTIES), "rmse")


_READ: dict[str, Callable[[], Dataset]] = {
    "yeast": _yeast,
    "jura": _jura,
    "digits": _digits,
    "qm9": _qm9,
}


def _kept(data: Dataset, names: Sequence[str], metric: str) -> Dataset:
    """These tasks, each judged by one metric."""
    tasks = {name: replace(data.tasks[name], metrics=(metric,)) for name in names}
    return replace(data, tasks=tasks, targets={name: data.targets[name] for name in names})


@dataclass(frozen=True)
class Drawn:
    """The rows of one seed, and which labels go."""

    setting: Setting
    seed: int
    tasks: dict[str, Task]
    spec: InputSpec
    inputs: dict[str, Tensor]
    """Of all rows, prepared as learned from the training rows."""
    targets: dict[str, np.ndarray]
    """Of all rows, complete."""
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    chance: np.ndarray
    """In [0, 1), [rows, tasks]: a label goes where the share of missing ones is above."""

    def hidden(self, share: float) -> dict[str, np.ndarray]:
        """The targets with that share of labels hidden, those of the test part excepted.

        What is hidden at a small share is hidden at a larger one, too.
        """
        gone = self.chance < share
        gone[self.test] = False
        return {
            name: np.where(gone[:, i], missing(values), values)
            for i, (name, values) in enumerate(self.targets.items())
        }


def missing(values: np.ndarray) -> Any:
    """What marks a missing label among targets of this type."""
    return np.float32(np.nan) if values.dtype.kind == "f" else np.int64(UNKNOWN)


def present(values: np.ndarray) -> np.ndarray:
    """Which rows have a label, bool [N]."""
    return ~np.isnan(values) if values.dtype.kind == "f" else values != UNKNOWN


def draw(setting: Setting, seed: int) -> Drawn:
    """Training and validation rows by seed; those of the test are always the same."""
    data = read(setting.name)
    order = np.random.default_rng(0).permutation(len(data))
    test, rest = order[: setting.test], order[setting.test :]
    rows = np.random.default_rng(seed + 1).permutation(rest)
    train, val = np.split(rows[: setting.train + setting.val], [setting.train])
    prepared = Preprocessor.fit(data, train)
    return Drawn(
        setting,
        seed,
        data.tasks,
        prepared.spec,
        prepared.transform(data.inputs),
        data.targets,
        train,
        val,
        test,
        np.random.default_rng([seed, 1]).random((len(data), len(data.tasks))),
    )
