"""QM9: known molecules, units, energies less the atoms' share, and structures that tell."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from connection import needs_connection
from torch import Tensor, nn

from polytask.data import Batches, Dataset, Preprocessor, dataset_card, load_dataset, make_splits
from polytask.data.sets.qm9 import COLUMNS, ELEMENTS, MEV, _read, smiles
from polytask.errors import UserError

ENERGIES = ("U0", "U", "H", "G")


@pytest.fixture(scope="module")
def molecules() -> Dataset:
    """All of QM9: 104 MB are fetched the first time."""
    with needs_connection():
        return load_dataset("qm9")


def counts(data: Dataset) -> np.ndarray:
    """How many atoms of each element: int64 [N, 5]."""
    atoms = data.inputs["atoms"]
    return np.stack([(atoms == number).sum(1) for number in ELEMENTS.values()], axis=1)


def test_files_in_the_form_of_the_publication_are_read(tmp_path: Path) -> None:
    """Hydrogen cyanide and water as the files have them, with Mathematica's powers of ten."""
    names = ["SMILES", "Elements", "XYZ_Ang", *(column for column, _ in COLUMNS.values())]
    cyanide = ["C#N", "['C','N','H']", "[[-0.0133,1.1324,0.],[2.3*^-3,-0.019,1.*^-7],[-0.02,2.,1]]"]
    water = ["O", "['O','H','H']", "[[0,0,0],[0.1,0.2,0.3],[-1,-2,-3.5]]"]
    files = {}
    for i, row in enumerate((cyanide, water)):
        files[f"part{i}"] = tmp_path / f"part{i}.csv"
        cells = [f'"{text}"' for text in row] + [str(number + i) for number in range(11)]
        files[f"part{i}"].write_text(f"{','.join(names)}\n{','.join(cells)}\n")
    read = _read(files)
    assert read["atoms"][:, :4].tolist() == [[6, 7, 1, 0], [8, 1, 1, 0]]
    assert read["positions"].shape == (2, 29, 3)
    np.testing.assert_allclose(read["positions"][0, 1], [2.3e-3, -0.019, 1e-7], rtol=1e-6)
    assert read["positions"][1, 2].tolist() == [-1, -2, -3.5]
    assert not read["positions"][:, 3:].any()
    assert read["targets"][0, [0, 1, 10]].tolist() == [0, 1, 10]
    assert read["targets"][1, 6] == pytest.approx(7 * 27211.386, rel=1e-7)
    files["part1"].write_text(files["part1"].read_text().replace("'H']", "'H','H']"))
    with pytest.raises(UserError, match="do not match"):
        _read(files)


def test_options_are_checked_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path))
    for options, message in (
        ({"split": "seed"}, "unknown split of qm9: 'seed'; did you mean 'seeded'"),
        ({"targets": ["lomo"]}, "unknown target of qm9: 'lomo'; did you mean 'lumo'"),
        ({"energies": "atomisation"}, "did you mean 'atomization'"),
        ({"energies": "fitted"}, "pass that too, or take energies='atomization'"),
        ({"rows": 0}, "rows of qm9: expected a whole number from 1 to 130831, found 0"),
        ({"rows": 1.5}, "found 1.5"),
        ({"missing": 1}, "missing of qm9: expected a share from 0 to below 1, found 1"),
        ({"missing": True}, "found True"),
        ({"missing": 0.5, "energies": "fitted", "split": "seeded"}, "expected one of the two"),
        ({"seed": -1}, "seed of qm9: expected a whole number of at least 0, found -1"),
    ):
        with pytest.raises(UserError, match=message):
            load_dataset("qm9", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_known_molecules_and_units(molecules: Dataset) -> None:
    data = molecules
    assert data.n == 130831 == dataset_card("qm9")["rows"]
    assert list(data.tasks) == list(dataset_card("qm9")["tasks"])
    assert list(data.tasks) == [*("mu", "alpha", "homo", "lumo", "r2", "zpve"), *ENERGIES, "Cv"]
    assert {task.primary.name for task in data.tasks.values()} == {"mae"}
    methane = {name: float(target[0]) for name, target in data.targets.items()}
    assert data.inputs["atoms"][0].tolist() == [6, 1, 1, 1, 1] + [0] * 24
    # The figures of dsgdb9nsd_000001 and its atomization energies as PyTorch Geometric has them.
    assert methane["mu"] == 0
    assert methane["alpha"] == pytest.approx(13.21)
    assert methane["homo"] == pytest.approx(-0.3877 * MEV, rel=1e-6)
    assert methane["lumo"] == pytest.approx(0.1171 * MEV, rel=1e-6)
    assert methane["r2"] == pytest.approx(35.3641)
    assert methane["zpve"] == pytest.approx(0.044749 * MEV, rel=1e-6)
    for name, electronvolt in zip(ENERGIES, (-17.1722, -17.2868, -17.3897, -16.1519), strict=True):
        assert methane[name] == pytest.approx(electronvolt * 1000, abs=0.06)
    assert methane["Cv"] == pytest.approx(6.469)
    assert [round(float(data.targets["mu"][i]), 4) for i in (1, 2)] == [1.6256, 1.8511]
    # Means and deviations of the published 130,831 molecules.
    for name, mean, deviation in (
        ("mu", 2.673, 1.5035),
        ("alpha", 75.281, 8.174),
        ("homo", -6536.5, 597.7),
        ("lumo", 322.0, 1274.9),
        ("r2", 1189.4, 280.5),
        ("zpve", 4056.9, 901.7),
        ("U0", -76116.0, 10323.7),
        ("G", -70836.6, 9498.3),
        ("Cv", 31.620, 4.068),
    ):
        values = data.targets[name].astype(np.float64)
        assert values.mean() == pytest.approx(mean, rel=2e-4)
        assert values.std() == pytest.approx(deviation, rel=3e-4)


@pytest.mark.slow
def test_structures_are_molecules(molecules: Dataset) -> None:
    atoms, positions = molecules.inputs["atoms"], molecules.inputs["positions"]
    sizes = (atoms > 0).sum(1)
    assert (sizes.min(), sizes.max()) == (3, 29)
    assert np.unique(atoms).tolist() == [0, 1, 6, 7, 8, 9]
    assert (atoms > 1).sum(1).max() == 9
    assert not positions[atoms == 0].any()
    # Atoms come first: no gaps.
    assert ((atoms > 0) == (np.arange(29) < sizes[:, None])).all()
    rows = np.random.default_rng(0).permutation(molecules.n)[:2000]
    there = atoms[rows] > 0
    apart = np.linalg.norm(positions[rows][:, :, None] - positions[rows][:, None], axis=-1)
    pair = there[:, :, None] & there[:, None] & ~np.eye(29, dtype=bool)
    nearest = np.where(pair, apart, np.inf).min(2)[there]
    # The bond to the next atom: 0.96 (O-H) to 1.5 (C-C) angstrom.
    assert nearest.min() > 0.9
    assert nearest.max() < 1.6
    hydrogen = np.where(pair, apart, np.inf).min(2)[atoms[rows] == 1]
    assert np.median(hydrogen) == pytest.approx(1.095, abs=0.01)


@pytest.mark.slow
def test_samples_and_fixed_parts(molecules: Dataset) -> None:
    whole = load_dataset("qm9", split="seeded", targets=["mu"])
    parts = make_splits(whole, seed=5)
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 110831,
        "val": 10000,
        "test": 10000,
    }
    small = load_dataset("qm9", rows=12000, split="seeded", seed=3, targets=["homo", "mu"])
    assert list(small.tasks) == ["homo", "mu"]
    assert {name: len(rows) for name, rows in make_splits(small).items()} == {
        "train": 10000,
        "val": 1000,
        "test": 1000,
    }
    names = smiles(rows=12000, seed=3)
    assert len(set(names)) == len(names) == 12000
    heavy = (small.inputs["atoms"] > 1).sum(1)
    letters = [sum(c in "CNOFcno" for c in name) for name in names]
    assert letters == heavy.tolist()
    assert smiles(rows=130831)[:5] == ["C", "N", "O", "C#C", "C#N"]
    # A smaller sample of a seed is part of a larger one.
    fewer = set(smiles(rows=500, seed=3))
    assert fewer < set(names)
    with pytest.raises(UserError, match="too few for split='seeded'"):
        load_dataset("qm9", rows=5, split="seeded")


@pytest.mark.slow
def test_energies_less_the_share_of_the_atoms(molecules: Dataset) -> None:
    options = {"rows": 12000, "split": "seeded", "targets": list(ENERGIES)}
    total = load_dataset("qm9", energies="total", **options)
    atomization = load_dataset("qm9", **options)
    fitted = load_dataset("qm9", energies="fitted", **options)
    elements = counts(fitted).astype(np.float64)
    train = make_splits(fitted)["train"]
    for name in ENERGIES:
        spreads = [
            float(d.targets[name].std(dtype=np.float64)) for d in (total, atomization, fitted)
        ]
        assert spreads[0] > 1e6 > 1.2e4 > spreads[1] > 9e3 > 1.2e3 > spreads[2] > 9e2
        residual = fitted.targets[name].astype(np.float64)
        # The fit is that of the training rows: nothing is left there, something is elsewhere.
        left = elements[train].T @ residual[train] / len(train)
        assert np.abs(left).max() < 0.1
        assert np.abs(elements.T @ residual / len(residual)).max() > 5
        # What was taken off is a number for each element and nothing else.
        off = total.targets[name].astype(np.float64) - residual
        shares = np.linalg.lstsq(elements, off)[0]
        np.testing.assert_allclose(elements @ shares, off, atol=2)
        if name == "U0":
            told = float(re.findall(r"C (-[\d.]+)", fitted.notes[-1])[0])
            assert told == pytest.approx(shares[1], abs=1)


def test_hidden_labels_are_a_seeds_and_the_gap_is_a_difference() -> None:
    options = {"rows": 3000, "targets": ["gap", "homo", "lumo", "mu"]}
    with needs_connection():
        whole = load_dataset("qm9", **options)
    gap, homo, lumo = (whole.targets[name].astype(np.float64) for name in ("gap", "homo", "lumo"))
    np.testing.assert_allclose(gap, lumo - homo, atol=0.01)
    assert gap.min() > 0
    holed = load_dataset("qm9", **options, missing=0.8)
    known = np.stack([~np.isnan(target) for target in holed.targets.values()])
    assert known.mean(axis=1) == pytest.approx(np.full(4, 0.2), abs=0.03)
    # Each label by itself: two are there as often as chance has it.
    assert (known[0] & known[1]).mean() == pytest.approx(0.04, abs=0.015)
    for name, target in holed.targets.items():
        there = ~np.isnan(target)
        assert (target[there] == whole.targets[name][there]).all()
    assert any("80." in note or "79." in note for note in holed.notes)
    again = load_dataset("qm9", rows=3000, targets=["mu"], missing=0.8)
    np.testing.assert_array_equal(again.targets["mu"], holed.targets["mu"])
    other = load_dataset("qm9", rows=3000, targets=["mu"], missing=0.8, seed=1)
    assert (np.isnan(other.targets["mu"]) != np.isnan(again.targets["mu"])).any()


class Filters(nn.Module):
    """Two rounds of messages weighted by distance, then a network on sums over the atoms."""

    def __init__(self, targets: int, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, width, padding_idx=0)
        self.filters = nn.ModuleList(nn.Linear(12, width) for _ in range(2))
        self.mix = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.atom = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, targets))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        there = x["atoms"] > 0
        pair = there[:, :, None] & there[:, None] & ~torch.eye(29, dtype=torch.bool)
        apart = (x["positions"][:, :, None] - x["positions"][:, None]).square().sum(-1).sqrt()
        basis = torch.exp(-4 * (apart[..., None] - torch.linspace(0.8, 5, 12)) ** 2)
        h = self.embed(x["atoms"])
        for filters, mix in zip(self.filters, self.mix, strict=True):
            weights = filters(basis) * pair[..., None]
            h = h + torch.tanh(mix(torch.einsum("nijw,njw->niw", weights, h)))
        return (self.atom(h) * there[..., None]).sum(1) / 4


@pytest.mark.slow
def test_properties_can_be_learned_from_structures(molecules: Dataset) -> None:
    data = load_dataset(
        "qm9", rows=1500, split="seeded", energies="fitted", targets=["alpha", "homo", "r2", "U0"]
    )
    parts = make_splits(data)
    prepared = Preprocessor.fit(data, parts["train"])
    assert prepared.spec.other == (("atoms", (29,)), ("positions", (29, 3)))
    inputs = prepared.transform(data.inputs)
    targets = {name: torch.from_numpy(values) for name, values in data.targets.items()}
    tasks = [task.fitted(targets[name][parts["train"]]) for name, task in data.tasks.items()]
    torch.manual_seed(0)
    model = Filters(len(tasks))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    train = Batches(
        {name: value[parts["train"]] for name, value in inputs.items()},
        {name: value[parts["train"]] for name, value in targets.items()},
        batch_size=25,
        shuffle=True,
    )
    for _ in range(6):
        for x, y in train:
            output = model(x)
            losses = [task.loss(output[:, i], y[task.name]).value for i, task in enumerate(tasks)]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
    with torch.no_grad():
        output = model({name: value[parts["test"]] for name, value in inputs.items()})
    for i, task in enumerate(tasks):
        truth = targets[task.name]
        found = task.primary.fresh(task)
        found.update(output[:, i], truth[parts["test"]])
        score, trivial = found.compute(), task.trivial(truth[parts["train"]], truth[parts["test"]])
        assert isinstance(score, float)
        assert isinstance(trivial, float)
        assert score < 0.85 * trivial, task.name


@pytest.mark.slow
def test_it_can_be_kept_in_a_folder(molecules: Dataset, tmp_path: Path) -> None:
    data = load_dataset("qm9", rows=240, split="seeded", seed=1)
    back = Dataset.load(data.save(tmp_path / "kept"))
    for name in data.inputs:
        np.testing.assert_array_equal(back.inputs[name], data.inputs[name])
    for name in data.targets:
        np.testing.assert_array_equal(back.targets[name], data.targets[name])
    first, again = make_splits(data), make_splits(back)
    assert [len(first[part]) for part in ("train", "val", "test")] == [200, 20, 20]
    for part in first:
        np.testing.assert_array_equal(first[part], again[part])
