"""Real inputs for the architecture tests: scikit-learn's wine table, digits and descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_wine,
)
from torch import Tensor


@dataclass(frozen=True)
class Output:
    """A task as far as an architecture looks at it."""

    name: str
    output_size: int = 1


@dataclass(frozen=True)
class Widths:
    """Widths of prepared inputs."""

    numeric: int = 0
    categorical: tuple[int, ...] = ()
    image: tuple[int, int, int] | None = None
    other: tuple[tuple[str, tuple[int, ...]], ...] = ()
    tokens: tuple[tuple[str, tuple[int, ...], int], ...] = ()


TABLE = Widths(numeric=11, categorical=(5, 4))
DIGITS = Widths(image=(1, 8, 8))
WORDS, LETTERS = 12, 8
TEXT = Widths(
    other=(("characters", (WORDS, LETTERS)), ("case", (WORDS,))),
    tokens=(("characters", (WORDS, LETTERS), 128), ("case", (WORDS,), 4)),
)
MOLECULES = Widths(other=(("atoms", (6,)), ("positions", (6, 3))), tokens=(("atoms", (6,), 10),))


@cache
def wine() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs of widths TABLE and targets of all 178 wines; two columns are cut into bins."""
    data = load_wine()
    columns = (data.data - data.data.mean(0)) / data.data.std(0)
    codes = np.stack([np.digitize(columns[:, 0], [-1, 0, 1]), np.digitize(columns[:, 1], [0, 1])])
    codes[0, ::20] = -1  # missing, so code 0
    inputs = {
        "numeric": torch.tensor(columns[:, 2:], dtype=torch.float32),
        "categorical": torch.tensor(codes.T + 1),
    }
    return inputs, {"type": torch.tensor(data.target)}


@cache
def digits() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The 1797 images [N, 1, 8, 8] in [0, 1], with three tasks: digit, even, ink."""
    data = load_digits()
    image = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
    digit = torch.tensor(data.target)
    ink = image.mean(dim=(1, 2, 3))
    targets = {
        "digit": digit,
        "even": (digit % 2 == 0).float()[:, None],
        "ink": ((ink - ink.mean()) / ink.std())[:, None],
    }
    return {"image": image}, targets


@cache
def text() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The lines of scikit-learn's descriptions of its data sets, empty ones too; 0 is padding.

    The first WORDS words: their first LETTERS characters (ASCII), and their case: 1 small, 2 with
    a capital, 3 without letters. Targets: of every word whether it is long, and how many vowels
    it has (0, 1, more), -100 where there is none; of every line which data set it is about.
    """
    makers = (load_iris, load_wine, load_breast_cancer, load_diabetes, load_digits, load_linnerud)
    lines = [(i, line) for i, make in enumerate(makers) for line in make().DESCR.splitlines()]
    characters = torch.zeros(len(lines), WORDS, LETTERS, dtype=torch.int64)
    case = torch.zeros(len(lines), WORDS, dtype=torch.int64)
    long, vowels = torch.full_like(case, -100), torch.full_like(case, -100)
    for row, (_, line) in enumerate(lines):
        for place, word in enumerate(line.split()[:WORDS]):
            codes = [min(ord(letter), 127) for letter in word[:LETTERS]]
            characters[row, place, : len(codes)] = torch.tensor(codes)
            letters = any(map(str.isalpha, word))
            case[row, place] = 1 + (word != word.lower()) if letters else 3
            long[row, place] = int(len(word) > 4)
            vowels[row, place] = min(2, sum(word.lower().count(vowel) for vowel in "aeiou"))
    about = torch.tensor([i for i, _ in lines])
    targets = {"long": long, "vowels": vowels, "about": about}
    return {"characters": characters, "case": case}, targets


SHAPES = {
    "HF": [(0, 0, 0), (0, 0, 0.917)],
    "CO": [(0, 0, 0), (0, 0, 1.128)],
    "OHH": [(0, 0, 0.117), (0, 0.757, -0.469), (0, -0.757, -0.469)],
    "COO": [(0, 0, 0), (0, 0, 1.162), (0, 0, -1.162)],
    "CHN": [(0, 0, 0), (0, 0, -1.064), (0, 0, 1.156)],
    "NHHH": [(0, 0, 0), (0, -0.938, -0.382), (0.812, 0.469, -0.382), (-0.812, 0.469, -0.382)],
    "CHHHH": [(0, 0, 0)] + [[0.6276 * s for s in (a, b, a * b)] for a in (1, -1) for b in (1, -1)],
    "COHH": [(0, 0, 0), (0, 0, 1.205), (0, 0.943, -0.588), (0, -0.943, -0.588)],
    "CCHH": [(0, 0, 0.601), (0, 0, -0.601), (0, 0, 1.664), (0, 0, -1.664)],
    "CCHHHH": [(0, 0, z) for z in (0.67, -0.67)]
    + [(0, y, z) for y in (0.929, -0.929) for z in (1.232, -1.232)],
}
"""Ten molecules as measured, angstrom."""


@cache
def molecules() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs of widths MOLECULES: SHAPES, and each with all distances up to 15 % off.

    Targets: the repulsion of the nuclei, the sum of Z_i Z_j / d_ij, standardised; and whether
    there is carbon.
    """
    numbers = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
    scales = torch.linspace(0.85, 1.15, 13)
    atoms = torch.zeros(len(SHAPES), len(scales), 6, dtype=torch.int64)
    positions = torch.zeros(len(SHAPES), len(scales), 6, 3)
    for row, (elements, places) in enumerate(SHAPES.items()):
        atoms[row, :, : len(places)] = torch.tensor([numbers[e] for e in elements])
        positions[row, :, : len(places)] = scales[:, None, None] * torch.tensor(places)
    # One scale of every molecule after the other, so that any first rows have all of them.
    atoms, positions = atoms.transpose(0, 1).flatten(0, 1), positions.transpose(0, 1).flatten(0, 1)
    charge = (atoms[:, :, None] * atoms[:, None]).float()
    apart = torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = torch.where(apart > 0, charge / apart.clamp(min=0.1), 0).triu(1).sum((1, 2))
    targets = {
        "repulsion": ((pairs - pairs.mean()) / pairs.std())[:, None],
        "carbon": (atoms == 6).any(1).float()[:, None],
    }
    return {"atoms": atoms, "positions": positions}, targets


def first(inputs: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """The first n rows."""
    return {name: value[:n] for name, value in inputs.items()}
