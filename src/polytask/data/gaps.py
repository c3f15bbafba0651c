"""What a split leaves out: parts without labels, and classes that are not in every part."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polytask.data.dataset import Dataset
from polytask.errors import some


def gaps(dataset: Dataset, splits: Mapping[str, np.ndarray]) -> list[str]:
    """What a split leaves out, one note each.

    A class that is not among the training rows cannot be learned; one that is nowhere else is
    never judged.
    """
    notes = []
    for name, task in dataset.tasks.items():
        target = dataset.targets[name]
        for part, rows in splits.items():
            if len(rows) and not task.labelled(target[rows]).any():
                notes.append(f"target {name}: no label among the {len(rows)} {part} rows")
        if task.kind not in ("binary", "multiclass") or target.ndim > 1:
            continue
        where = {
            part: np.bincount(codes[codes >= 0], minlength=len(task.classes)) > 0
            for part, codes in ((part, target[rows]) for part, rows in splits.items())
            if len(codes)
        }
        there = np.any(list(where.values()), axis=0)
        for part, found in where.items():
            absent = [repr(task.classes[i]) for i in np.flatnonzero(there & ~found)]
            if absent and found.any():
                notes.append(
                    f"target {name}: no {part} row has {some(absent, 60)}; a stratified split "
                    f"spreads classes, and rare ones may be merged"
                )
    return notes
