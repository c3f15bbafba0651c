"""Two real sets of regressions in their own units, and which rows a seed gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from benchmarks.molecules import coulomb_eigenvalues
from polytask import Dataset, Task, load_dataset
from polytask.data import InputSpec, Preprocessor

MOLECULES = 2600
PROPERTIES = ("mu", "alpha", "homo", "lumo", "r2", "Cv")
MILLI = 1000.0


@dataclass(frozen=True)
class Setting:
    """A data set with the target that is multiplied, the rows of its parts, and the training."""

    name: str
    target: str
    unit: str
    """What it is measured in, as it is and multiplied."""
    train: int
    val: int
    test: int
    batch: int
    epochs: int
    hidden: tuple[int, ...] = (64, 32)
    """Layers of the encoder mlp."""
    rates: tuple[float, ...] = (5e-3, 2e-2)


SETTINGS = (
    Setting("jura", "Cd", "cadmium in mg/kg, or in µg/kg", 190, 69, 100, batch=32, epochs=30),
    Setting(
        *("qm9", "homo", "energy of an orbital in eV, as lumo, or in meV"),
        *(1200, 400, 1000),
        batch=64,
        epochs=10,
    ),
)


@dataclass(frozen=True)
class Drawn:
    """The rows of one seed."""

    seed: int
    tasks: dict[str, Task]
    """In their own units, not standardised."""
    spec: InputSpec
    inputs: dict[str, Tensor]
    """Of all rows, prepared as learned from the training rows."""
    targets: dict[str, np.ndarray]
    """Of all rows, complete."""
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def draw(setting: Setting, seed: int) -> Drawn:
    """Training and validation rows by seed; those of the test are always the same."""
    data = _READ[setting.name]()
    tasks = {name: replace(task, metrics=("rmse",)) for name, task in data.tasks.items()}
    order = np.random.default_rng(0).permutation(len(data))
    test, rest = order[: setting.test], order[setting.test :]
    rows = np.random.default_rng(seed + 1).permutation(rest)
    train, val = np.split(rows[: setting.train + setting.val], [setting.train])
    prepared = Preprocessor.fit(data, train)
    inputs = prepared.transform(data.inputs)
    return Drawn(seed, tasks, prepared.spec, inputs, data.targets, train, val, test)


def _jura() -> Dataset:
    return load_dataset("jura")


def _qm9() -> Dataset:
    """Molecules as the eigenvalues of their Coulomb matrix; orbitals in eV."""
    data = load_dataset("qm9", rows=MOLECULES, targets=list(PROPERTIES))
    # Distances in angstrom, not the atomic units of the paper.
    found = coulomb_eigenvalues(data.inputs["atoms"], data.inputs["positions"])
    columns = found.astype(np.float32)
    targets = dict(data.targets)
    for name in ("homo", "lumo"):  # meV in the registered set
        targets[name] = targets[name] * np.float32(1 / MILLI)
    return replace(data, inputs={"numeric": columns}, targets=targets)


_READ: dict[str, Callable[[], Dataset]] = {"jura": _jura, "qm9": _qm9}
