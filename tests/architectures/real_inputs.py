"""Real inputs for the architecture tests: scikit-learn's bundled wine table and digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine
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


TABLE = Widths(numeric=11, categorical=(5, 4))
DIGITS = Widths(image=(1, 8, 8))


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


def first(inputs: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """The first n rows."""
    return {name: value[:n] for name, value in inputs.items()}
