"""Data sets of their own for each task as one `Dataset`, which knows where each of them begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from polytask.data import Dataset, DataSets, stored
from polytask.data.data_sets import Splits
from polytask.data.sources import name_of, tasks_of
from polytask.errors import UserError
from polytask.files import atomic, write_text
from polytask.study.mixing import INDEX

SAME = "same.npz"
APART = (("test", ("train", "val")), ("val", ("train",)))
"""What is judged on, and where its rows may not be as well."""

Same = Mapping[str, np.ndarray]
"""By data set: a number for each row, the same for the same thing in another; -1 for no other."""


@dataclass(kw_only=True)
class Joined(Dataset):
    """All rows, one data set below the other; a task has labels in the rows of its own."""

    sets: DataSets
    same: Same | None = None
    """Rows that stand for the same thing in several data sets; None: there are none."""

    @classmethod
    def of(cls, sets: DataSets, same: Same | None = None) -> Joined:
        """The data sets together. `same` is what `same_groups` or `same_rows` found."""
        whole = {each.name: getattr(sets.dataset, each.name) for each in fields(Dataset)}
        return cls(**whole, sets=sets, same=same)

    def split(self, **words: Any) -> Splits:
        """The parts of every data set by itself; `words` are those of `make_splits`.

        A row that stands for the same thing as a test row of another data set is left out of
        training and validation, and likewise one of another's validation out of training.
        """
        parts = self.sets.split(**words)
        return parts if self.same is None else _apart(parts, self.same)

    def places(self, splits: Splits) -> dict[str, tuple[tuple[str, ...], int, int]]:
        """Tasks, first and last place of each data set among the training rows of all."""
        found, low = {}, 0
        for key in self.sets.sets:
            high = low + len(splits[name_of(key)]["train"])
            found[name_of(key)] = (tasks_of(key), low, high)
            low = high
        return found

    def own(self, task: str, splits: Splits) -> tuple[Dataset, dict[str, np.ndarray]]:
        """The data set of one task alone, and its parts; of several that have it, all rows."""
        kept = {key: data for key, data in self.sets.sets.items() if task in data.tasks}
        if len(kept) == 1:
            ((key, data),) = kept.items()
            parts = splits[name_of(key)]
        else:
            several = DataSets.of(kept)
            data, parts = several.dataset, several.rows(splits)
        tasks, targets = {task: data.tasks[task]}, {task: data.targets[task]}
        return replace(data, tasks=tasks, targets=targets), parts

    def save(self, folder: str | Path) -> Path:
        """Write every data set into a folder of its own in `folder`, and last what joins them."""
        folder = Path(folder)
        for number, data in enumerate(self.sets.sets.values()):
            data.save(folder / str(number))
        if self.same is not None:
            numbered: dict[str, Any] = {str(i): ids for i, ids in enumerate(self.same.values())}
            with atomic(folder / SAME) as stream:
                np.savez(stream, **numbered)
        index = {
            "keys": [list(tasks_of(key)) for key in self.sets.sets],
            "fingerprints": self.sets.fingerprints,
            "notes": self.notes,
            "same": self.same is not None,
        }
        write_text(folder / INDEX, json.dumps(index, indent=1, ensure_ascii=False) + "\n")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Joined:
        """Read what `save` wrote. Raises `UserError` when it is not there, or damaged."""
        folder = Path(folder)
        index = _index(folder)
        keys = [tuple(key) if len(key) > 1 else key[0] for key in index["keys"]]
        read = {key: Dataset.load(folder / str(number)) for number, key in enumerate(keys)}
        sets = DataSets.of(read, index["fingerprints"])
        same = None
        if index["same"]:
            with np.load(folder / SAME, allow_pickle=False) as arrays:
                same = {name_of(key): arrays[str(i)] for i, key in enumerate(keys)}
        joined = cls.of(sets, same)
        joined.notes = list(index["notes"])
        return joined


def is_joined(folder: Path) -> bool:
    """Whether `Joined.save` wrote a folder."""
    return (folder / INDEX).is_file()


def all_stored(folder: Path) -> bool:
    """Whether a whole, unchanged data set, or several of a study, are in a folder."""
    if not is_joined(folder):
        return stored(folder)
    try:
        index = _index(folder)
    except UserError:
        return False
    there = not index["same"] or (folder / SAME).is_file()
    return there and all(stored(folder / str(number)) for number in range(len(index["keys"])))


def same_groups(sets: DataSets, groups: Same) -> Same | None:
    """Groups that are in several data sets. `groups` are those of some, with the same codes."""
    return _shared(
        {
            name_of(key): groups.get(name_of(key), np.full(data.n, -1, np.int64))
            for key, data in sets.sets.items()
        }
    )


def same_rows(sets: DataSets) -> Same | None:
    """Rows with the same inputs in several data sets, of those that occur once in their own.

    Inputs that a data set has more than once do not tell a thing from another. Cost: one hash a
    row.
    """
    found = {}
    for key, data in sets.sets.items():
        hashes = _hashes(data)
        values, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        found[name_of(key)] = np.where(counts[place] == 1, values[place], -1)
    return _shared(found)


def _shared(ids: dict[str, np.ndarray]) -> Same | None:
    """The same numbers, -1 for those of one data set only; None when no number is left."""
    each = [np.unique(found[found >= 0]) for found in ids.values()]
    values, counts = np.unique(np.concatenate(each), return_counts=True)
    several = values[counts > 1]
    if len(several) == 0:
        return None
    return {name: np.where(np.isin(found, several), found, -1) for name, found in ids.items()}


def _hashes(data: Dataset) -> np.ndarray:
    """int64 [N], at least 0: a hash of the inputs of each row, by name and value."""
    arrays = [np.ascontiguousarray(data.inputs[name]) for name in sorted(data.inputs)]
    found = np.empty(data.n, np.int64)
    for row in range(data.n):
        known = hashlib.blake2b(digest_size=8)
        for array in arrays:
            known.update(array[row].tobytes())
        found[row] = int.from_bytes(known.digest(), "big") >> 1
    return found


def _apart(splits: Splits, same: Same) -> Splits:
    """The parts without rows that are judged on in another data set."""
    kept = {name: dict(parts) for name, parts in splits.items()}
    for judged, others in APART:
        taken = {name: same[name][parts[judged]] for name, parts in kept.items()}
        for name, parts in kept.items():
            elsewhere = np.concatenate([ids for other, ids in taken.items() if other != name])
            elsewhere = elsewhere[elsewhere >= 0]
            for part in others:
                rows = parts[part]
                parts[part] = rows[~np.isin(same[name][rows], elsewhere)]
    return kept


def _index(folder: Path) -> dict[str, Any]:
    """What joins the data sets of a folder. Raises `UserError` when it cannot be read."""
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / INDEX} is damaged ({error}). Save the data sets again."
        ) from error
    return index
