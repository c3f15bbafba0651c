"""QM9: eleven quantum-chemical properties of small organic molecules from their atoms in space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.fetch import fetch
from polytask.data.parsed import parsed
from polytask.data.sets._sample import sample
from polytask.errors import UserError, need, unknown
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "QM9 molecules",
    "kind": "molecule",
    "rows": 130831,
    "inputs": "atoms int64 [N, 29], the atomic numbers 1, 6, 7, 8, 9 and 0 for none; positions "
    "float32 [N, 29, 3] in angstrom",
    "tasks": {
        "mu": "regression: dipole moment, debye",
        "alpha": "regression: isotropic polarizability, cubic bohr",
        "homo": "regression: energy of the highest occupied orbital, meV",
        "lumo": "regression: energy of the lowest unoccupied orbital, meV",
        "r2": "regression: electronic spatial extent, square bohr",
        "zpve": "regression: zero-point vibrational energy, meV",
        "U0": "regression: internal energy at 0 K, meV",
        "U": "regression: internal energy at 298.15 K, meV",
        "H": "regression: enthalpy at 298.15 K, meV",
        "G": "regression: free energy at 298.15 K, meV",
        "Cv": "regression: heat capacity at 298.15 K, cal/(mol K)",
    },
    "split": "drawn by seed; split='seeded' gives fixed parts as in Nash-MTL and FAMO: 10,000 test "
    "and 10,000 validation molecules, the rest training (a twelfth each of fewer than 120,000 "
    "rows)",
    "address": "https://doi.org/10.6084/m9.figshare.c.978904.v5",
    "source": "R. Ramakrishnan, P. O. Dral, M. Rupp and O. A. von Lilienfeld, Quantum chemistry "
    "structures and properties of 134 kilo molecules, Scientific Data 1, 140022, 2014; carried "
    "by R. Ramakrishnan's qm9pack",
    "licence": "CC0 (the data); the carrying package is MIT",
    "carriers": [
        {
            "client": "pip",
            "package": "qm9pack",
            "version": "1.0.3",
            "members": [
                "qm9pack/data/qm9_part1.csv",
                "qm9pack/data/qm9_part2.csv",
                "qm9pack/data/qm9_part3.csv",
            ],
            "sha256": "76336cbd6bec9f9827ade7a0f0604edd7abc79c6aff29a115c6343cb06083d33",
            "megabytes": 103.7,
        }
    ],
    "notes": [
        "the 3,054 molecules whose structure changed under relaxation are left out, as usual",
        "B3LYP/6-31G(2df,p); the positions are those of the relaxed structure",
        "the tables of Nash-MTL and FAMO give the mean absolute error in these units",
        "targets=[..., gap] has lumo less homo too; missing=0.8 hides four labels of five",
    ],
}
MAX_ATOMS = 29
MEV = 27211.386245988
"""One hartree in meV (CODATA 2018)."""
COLUMNS = {
    "mu": ("Dipole_debye", 1.0),
    "alpha": ("Polarizability_bohr3", 1.0),
    "homo": ("HOMO_au", MEV),
    "lumo": ("LUMO_au", MEV),
    "r2": ("R2_bohr2", 1.0),
    "zpve": ("ZPVE_au", MEV),
    "U0": ("InternalEnergy_0K_au", MEV),
    "U": ("InternalEnergy_298K_au", MEV),
    "H": ("Enthalphy_298K_au", MEV),
    "G": ("GibbsFreeEnergy_298K_au", MEV),
    "Cv": ("Heatcapacity_Cv_cal_mol_K", 1.0),
}
"""The targets in the order of the published tables: column of the file, factor to our unit."""
ALL = (*COLUMNS, "gap")
"""The targets there are: those of the file, and the difference of two of them."""
HIDDEN = 1
"""Keeps the draw of hidden labels apart from others of the same seed."""
ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
FREE_ATOMS = {
    "U0": (-0.500273, -37.846772, -54.583861, -75.064579, -99.718730),
    "U": (-0.498857, -37.845355, -54.582445, -75.063163, -99.717314),
    "H": (-0.497912, -37.844411, -54.581501, -75.062219, -99.716370),
    "G": (-0.510927, -37.861317, -54.598897, -75.079532, -99.733544),
}
"""Energies of free atoms by element, hartree: the file atomref.txt of the publication."""
ENERGIES = ("atomization", "fitted", "total")


def qm9(
    rows: int | None = None,
    split: str | None = None,
    seed: int = 0,
    targets: Sequence[str] | None = None,
    energies: str = "atomization",
    missing: float = 0.0,
) -> Dataset:
    """QM9: 130,831 small molecules as atoms in space; eleven quantum-chemical properties.

    The eleven targets, their order, units and the mean absolute error they are judged by are
    those of the QM9 tables of Nash-MTL (Navon et al. 2022, https://arxiv.org/abs/2202.01017)
    and FAMO (Liu et al. 2023, https://arxiv.org/abs/2306.03792). `smiles` gives the molecules
    as text.

    Args:
        rows: how many molecules, drawn by `seed` and kept in the order of the file; None for all.
        split: `seeded` for fixed parts drawn by `seed`; None to leave splitting to the caller.
        seed: of the sample and of the fixed parts.
        targets: names of the targets to keep, in this order; None for the eleven. `gap`, lumo less
            homo in meV, may be named as a twelfth.
        energies: what U0, U, H and G are. `atomization`: less the published energies of the
            free atoms, as in those tables; needs no fit. `fitted`: less a least-squares fit on
            the numbers of atoms of the five elements, made on the training rows alone, so it
            takes split='seeded'. `total`: as they are; float32 keeps them to about 1 meV.
        missing: share of labels that are hidden, from 0 to below 1, as in a table of assays where
            most were never made. Drawn by `seed` for every molecule and target by itself, in all
            parts alike: validation and test see no hidden label either. What is hidden of a
            target does not depend on the others that are kept.

    Raises:
        UserError: an option that does not fit, or the data cannot be fetched.
        MissingExtraError: pandas is not installed.

    Cost: 104 MB are fetched once; the first reading takes seconds, later ones a part of one.
    """
    if split not in (None, "seeded"):
        raise unknown("split of qm9:", split, ["seeded"])
    if energies not in ENERGIES:
        raise unknown("energies of qm9:", energies, ENERGIES)
    if energies == "fitted" and split is None:
        raise UserError(
            "energies='fitted' of qm9 is fitted on training rows, which only split='seeded' "
            "names; pass that too, or take energies='atomization'."
        )
    wanted = (
        [targets] if isinstance(targets, str) else list(COLUMNS if targets is None else targets)
    )
    for name in wanted:
        if name not in ALL:
            raise unknown("target of qm9:", name, ALL)
    if not isinstance(missing, int | float) or isinstance(missing, bool) or not 0 <= missing < 1:
        raise UserError(
            f"missing of qm9: expected a share from 0 to below 1, found {missing!r}; 0.8 hides "
            "four labels of five."
        )
    if missing and energies == "fitted":
        raise UserError(
            "energies='fitted' of qm9 is fitted on the labels of all training rows, of which "
            f"missing={missing} hides some; expected one of the two. Take energies='atomization'."
        )
    drawn = sample(CARD["rows"], rows, seed, "qm9")

    from polytask.data.dataset import Dataset

    arrays = parsed(CARD, 1, _read)
    kept = np.sort(drawn)
    atoms = arrays["atoms"][kept].astype(np.int64)
    values = arrays["targets"][kept]
    fixed = _parts(drawn, kept) if split else None
    notes = [f"inputs: {CARD['inputs']}", *CARD["notes"]]
    if energies != "total":
        values, note = _bound(values, atoms, None if energies == "atomization" else fixed)
        notes.append(note)
    orbitals = [list(COLUMNS).index(name) for name in ("lumo", "homo")]
    values = np.column_stack([values, values[:, orbitals[0]] - values[:, orbitals[1]]])
    if missing:
        hidden = np.random.default_rng([seed, HIDDEN]).random(values.shape) < missing
        values = np.where(hidden, np.nan, values)
        notes.append(f"{hidden.mean():.1%} of the labels are hidden, drawn by seed {seed}")
    tasks = [Task(name, "regression", metrics=("mae", "rmse", "r2")) for name in wanted]
    return Dataset(
        name="qm9",
        inputs={"atoms": atoms, "positions": arrays["positions"][kept]},
        targets={name: values[:, ALL.index(name)] for name in wanted},
        tasks={task.name: task for task in tasks},
        fixed_split=fixed,
        notes=notes,
    )


def smiles(rows: int | None = None, seed: int = 0) -> list[str]:
    """The SMILES of the molecules of `qm9(rows=rows, seed=seed)`, in the same order.

    As the carrying package gives them, all different. Reads its files anew: about a second.
    Raises as `qm9` does.
    """
    kept = np.sort(sample(CARD["rows"], rows, seed, "qm9"))
    texts: list[str] = _table(fetch(CARD), ["SMILES"])["SMILES"].to_numpy()[kept].tolist()
    return texts


def _parts(drawn: np.ndarray, kept: np.ndarray) -> dict[str, np.ndarray]:
    """Test, validation and training rows in the order of the draw, as places in `kept`."""
    places = np.searchsorted(kept, drawn)
    held = min(10_000, round(len(drawn) / 12))
    if held == 0:
        raise UserError(
            f"rows of qm9: {len(drawn)} are too few for split='seeded', which holds out a "
            "twelfth twice; expected at least 12."
        )
    parts = {"train": places[2 * held :], "val": places[held : 2 * held], "test": places[:held]}
    return {name: np.sort(part) for name, part in parts.items()}


def _bound(
    values: np.ndarray, atoms: np.ndarray, fixed: dict[str, np.ndarray] | None
) -> tuple[np.ndarray, str]:
    """Targets float64 [N, 11] with the atoms' share of the four energies taken off.

    That is the energy of the free atoms; with `fixed`, the fit on its training rows as well.
    """
    counts = np.stack([(atoms == number).sum(1) for number in ELEMENTS.values()], axis=1)
    columns = [list(COLUMNS).index(name) for name in FREE_ATOMS]
    shares = np.asarray(list(FREE_ATOMS.values())).T * MEV
    values = values.copy()
    values[:, columns] -= counts @ shares
    if fixed is None:
        return values, "U0, U, H and G: less the published energies of the free atoms"
    # After the free atoms' energies an element that no training row has is off by a few eV only.
    train = fixed["train"]
    fit = np.linalg.lstsq(counts[train].astype(np.float64), values[train][:, columns])[0]
    values[:, columns] -= counts @ fit
    said = ", ".join(
        f"{element} {share:.1f}"
        for element, share in zip(ELEMENTS, (shares + fit)[:, 0], strict=True)
    )
    return values, (
        "U0, U, H and G: less a least-squares fit on the numbers of atoms of "
        f"{len(train)} training rows (U0, meV an atom: {said})"
    )


def _read(files: dict[str, Path]) -> dict[str, np.ndarray]:
    """atoms uint8 [N, 29], positions float32 [N, 29, 3], targets float64 [N, 11]."""
    raw = _table(files, ["Elements", "XYZ_Ang", *(column for column, _ in COLUMNS.values())])
    # Every element has a one-letter symbol, so without the marks a text is one letter an atom.
    letters = raw["Elements"].str.replace(r"[\[\]', ]", "", regex=True)
    lengths = letters.str.len().to_numpy()
    numbers = np.zeros(256, np.uint8)
    for element, number in ELEMENTS.items():
        numbers[ord(element)] = number
    flat = numbers[np.frombuffer("".join(letters).encode("ascii"), np.uint8)]
    # Written by Mathematica: 1.2*^-5 is 1.2e-5.
    text = ",".join(raw["XYZ_Ang"]).replace("[", "").replace("]", "").replace("*^", "e")
    points = np.array(text.split(","), np.float64).reshape(-1, 3)
    if len(points) != len(flat) or lengths.max() > MAX_ATOMS or not flat.all():
        raise UserError("the atoms and the coordinates of QM9 do not match; was the file changed?")
    there = np.arange(MAX_ATOMS) < lengths[:, None]
    atoms = np.zeros(there.shape, np.uint8)
    atoms[there] = flat
    positions = np.zeros((*there.shape, 3), np.float32)
    positions[there] = points
    targets = np.stack([raw[column].to_numpy() * factor for column, factor in COLUMNS.values()], 1)
    return {"atoms": atoms, "positions": positions, "targets": targets}


def _table(files: dict[str, Path], columns: list[str]) -> pd.DataFrame:
    """Columns of the three files, one molecule a row in the order of QM9's numbers."""
    try:
        import pandas as pd
    except ImportError as error:
        raise need("pandas", "app", "reading QM9") from error
    parts = [pd.read_csv(files[member], usecols=columns) for member in sorted(files)]
    return pd.concat(parts, ignore_index=True)
