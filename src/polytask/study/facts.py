"""What a study knows of its data: a fingerprint, checked splits, and facts for the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from polytask.data import Dataset, make_splits
from polytask.data.gaps import gaps
from polytask.data.sources import name_of
from polytask.errors import UserError, some
from polytask.study.joined import Joined
from polytask.study.set_facts import own_labelled, set_facts
from polytask.tasks import Task, Undefined

Splits = dict[str, np.ndarray]


def fingerprint(dataset: Dataset) -> str:
    """16 hexadecimal digits of everything in a data set that can change a result.

    Of several, each under the name that it has by its tasks.
    """
    found = hashlib.sha256()
    if isinstance(dataset, Joined):
        found.update(json.dumps(fingerprints(dataset), sort_keys=True).encode())
        for name, ids in (dataset.same or {}).items():
            found.update(f"same/{name};".encode() + np.ascontiguousarray(ids).tobytes())
        return found.hexdigest()[:16]
    arrays: dict[str, Any] = {f"input/{k}": v for k, v in dataset.inputs.items()}
    arrays |= {f"target/{k}": v for k, v in dataset.targets.items()}
    arrays |= {f"fixed/{k}": v for k, v in (dataset.fixed_split or {}).items()}
    arrays |= {k: getattr(dataset, k) for k in ("groups", "times", "coordinates", "stratify_on")}
    for key, array in arrays.items():
        if array is not None:
            found.update(f"{key} {array.dtype} {array.shape};".encode())
            found.update(np.ascontiguousarray(array).tobytes())
    tasks = [_described(task) for task in dataset.tasks.values()]
    found.update(json.dumps(tasks, sort_keys=True, default=str).encode())
    return found.hexdigest()[:16]


def fingerprints(dataset: Joined) -> dict[str, str]:
    """The fingerprint of each of several data sets, by name."""
    return {name_of(key): fingerprint(data) for key, data in dataset.sets.sets.items()}


def check_splits(
    dataset: Dataset, seeds: int, split: str, test_fraction: float, val_fraction: float
) -> list[Splits]:
    """The splits of all seeds, each part filled and every task learnable; else `UserError`.

    Of several data sets they are told as rows of all, one data set below the other.
    """
    found = []
    words: dict[str, Any] = {
        "split": split,
        "test_fraction": test_fraction,
        "val_fraction": val_fraction,
    }
    for seed in range(seeds):
        if isinstance(dataset, Joined):
            each = dataset.split(**words, seed=seed)
            for name, parts in each.items():
                _check_parts(parts, f" of the data set of {name!r}")
            splits = dataset.sets.rows(each)
        else:
            splits = make_splits(dataset, **words, seed=seed)
            _check_parts(splits)
        for name, task in dataset.tasks.items():
            try:
                task.fitted(dataset.targets[name][splits["train"]])
            except UserError as error:
                raise UserError(f"{error} (training rows of seed {seed})") from error
        found.append(splits)
    return found


def _check_parts(parts: Mapping[str, np.ndarray], of: str = "") -> None:
    """Raise `UserError` for a part without rows."""
    for part, rows in parts.items():
        if len(rows) == 0:
            raise UserError(
                f"a study needs rows to train, to choose and to judge by; the part {part!r}{of} "
                f"is empty, of {sum(map(len, parts.values()))} rows in all. Give more rows, with a "
                "test_fraction and a val_fraction above 0."
            )


def facts(dataset: Dataset, splits: list[Splits], card: Mapping[str, Any]) -> dict[str, Any]:
    """What `results.json` says of the data: tasks with the best constant's score, sizes, notes."""
    redrawn = any(not np.array_equal(s["test"], splits[0]["test"]) for s in splits)
    sizes = {part: len(rows) for part, rows in splits[0].items()}
    ratio = sizes["test"] / sizes["train"] if redrawn else 0.0
    labelled = {t: count / dataset.n for t, count in dataset.labelled().items()}
    several: dict[str, Any] = {}
    if isinstance(dataset, Joined):
        several["sets"] = set_facts(dataset, splits, fingerprints(dataset))
        labelled = own_labelled(dataset)
        ratio = max(each["redrawn"] for each in several["sets"])
    return {
        "tasks": {
            name: {
                "kind": task.kind,
                "role": task.role,
                "metric": task.primary.name,
                "direction": task.primary.direction,
                "trivial": _trivial(task, dataset.targets[name], splits),
            }
            for name, task in dataset.tasks.items()
        },
        "dataset": {
            "name": dataset.name,
            "n": dataset.n,
            "splits": sizes,
            "notes": [*dataset.notes, *_gaps(dataset, splits)],
            "labelled": labelled,
            **several,
            **({"card": dict(card)} if card else {}),
        },
        "redrawn": ratio,
    }


def left_out(known: Mapping[str, Any], dataset: Dataset) -> list[str]:
    """The notes of these facts that the data set has not of itself: what its splits leave out."""
    return [note for note in known["dataset"]["notes"] if note not in dataset.notes]


def _gaps(dataset: Dataset, splits: list[Splits]) -> list[str]:
    """What the splits leave out, with the seeds that do; one note for the same gap of many."""
    found: dict[str, list[int]] = {}
    for seed, parts in enumerate(splits):
        for note in gaps(dataset, parts):
            found.setdefault(note, []).append(seed)
    return [
        note if len(seeds) == len(splits) else f"{note} (seed {some(seeds, 20)})"
        for note, seeds in found.items()
    ]


def _trivial(task: Task, target: np.ndarray, splits: list[Splits]) -> Any:
    """Mean test score of the best constant prediction over the seeds."""
    scores = [task.trivial(target[s["train"]], target[s["test"]]) for s in splits]
    for score in scores:
        if isinstance(score, Undefined):
            return {"undefined": score.reason}
    return sum(float(score) for score in scores if not isinstance(score, Undefined)) / len(scores)


def _described(task: Task) -> dict[str, Any]:
    """A task as plain values; a function is described by its code."""
    try:
        return task.to_dict()
    except UserError:
        own = [m.function for m in task.metrics if not isinstance(m, str)]
        codes = [getattr(function, "__code__", None) for function in (task.loss_function, *own)]
        return {
            "name": task.name,
            "kind": task.kind,
            "role": task.role,
            "size": task.size,
            "classes": list(task.classes),
            "metrics": [m.name for m in task.all_metrics],
            **({"reverse": task.reverse} if task.reverse else {}),
            "code": [c.co_code.hex() if c is not None else "" for c in codes],
        }
