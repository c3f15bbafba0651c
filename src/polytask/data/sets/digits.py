"""Handwritten digits: small images that come with scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.errors import need
from polytask.tasks import Task

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "Optical recognition of handwritten digits",
    "kind": "image",
    "rows": 1797,
    "inputs": "images of 1 x 8 x 8 grey values, 0 to 16",
    "tasks": {
        "digit": "multiclass: 0 to 9",
        "parity": "binary: even or odd",
        "size": "binary: below 5 or at least 5",
    },
    "split": "drawn by seed",
    "address": "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    "source": "UCI Machine Learning Repository; E. Alpaydin and C. Kaynak, 1998; the test rows, "
    "as bundled with scikit-learn",
    "licence": "CC BY 4.0",
    "carriers": [],
    "bundled": "scikit-learn",
    "notes": [
        "parity and size follow from the digit, so the three tasks agree perfectly",
        "who wrote a digit is not in the data: a random split has one writer in several parts",
    ],
}


def digits() -> Dataset:
    """Handwritten digits: 1,797 images of 8 x 8; the digit, odd or even, at least 5 or not.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    from polytask.data.dataset import Dataset

    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise need("scikit-learn", "app", "reading digits") from error
    bundle = load_digits()
    digit = np.asarray(bundle.target, np.int64)
    tasks = [
        Task("digit", "multiclass", classes=tuple(range(10))),
        Task("parity", "binary", classes=("even", "odd")),
        Task("size", "binary", classes=("below_5", "at_least_5")),
    ]
    return Dataset(
        name="digits",
        inputs={"image": np.asarray(bundle.images, np.float32)[:, None]},
        targets={
            "digit": digit,
            "parity": digit % 2,
            "size": (digit >= 5).astype(np.int64),
        },
        tasks={task.name: task for task in tasks},
        notes=[f"inputs: {CARD['inputs']}", *CARD["notes"]],
    )
